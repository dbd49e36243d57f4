/* A shared object that is no handler. */
#include "mod_websocket.h"

extern WEBSOCKET_PUBLIC const int something_else;

const int something_else = 1;
