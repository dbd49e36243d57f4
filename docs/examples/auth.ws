# echo "3f9c4d2ab81e ann" >tokens
# websocket-run ./auth.so tokens=tokens --script auth.ws

open /
expect refused 401
expect header WWW-Authenticate: Token

header Cookie: theme=dark; token=wrong
open /
expect refused 401

header Cookie: theme=dark; token=3f9c4d2ab81e
open /bob
expect refused 403

user ann@example.org
env TENANT=blue
header Cookie: theme=dark; token=3f9c4d2ab81e
open /ann
send text whoami
expect escaped user ann\nlogin ann@example.org\ntls (none)\ntenant blue\n
close

user
open /?token=3f9c4d2ab81e
send text whoami
expect like user ann\nlogin (none)*
