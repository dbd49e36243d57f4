#include "ws_value.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#define KIB 1024

/* What multiplies a number that ends with it. */
typedef struct {
    const char *name;
    int64_t factor;
} unit_t;

/* A number and one of the units, the last of which has no name. */
static bool parse(int64_t *pvalue, const char *text, const unit_t *unit)
{
    char *end;
    int64_t number;
    int64_t value;

    if (*text != '-' && (*text < '0' || *text > '9')) {
        return false;                       /* strtoll() takes more */
    }
    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno != 0 || end == text) {
        return false;
    }
    while (unit->name != NULL && strcasecmp(unit->name, end) != 0) {
        unit++;
    }
    if (unit->name == NULL ||
        __builtin_mul_overflow(number, unit->factor, &value)) {
        return false;
    }
    *pvalue = value;
    return true;
}

bool ws_value_integer(int64_t *pvalue, const char *text)
{
    static const unit_t units[] = {{"", 1}, {NULL, 0}};

    return parse(pvalue, text, units);
}

bool ws_value_size(int64_t *pvalue, const char *text)
{
    static const unit_t units[] = {{"", 1},
                                   {"K", KIB},
                                   {"M", KIB * KIB},
                                   {"G", KIB * KIB * KIB},
                                   {NULL, 0}};

    return *text != '-' && parse(pvalue, text, units);
}

bool ws_value_duration(int64_t *pvalue, const char *text)
{
    static const unit_t units[] = {
        {"", 1000},     {"ms", 1},      {"s", 1000}, {"mi", 60000},
        {"min", 60000}, {"h", 3600000}, {NULL, 0}};

    return *text != '-' && parse(pvalue, text, units);
}

bool ws_value_boolean(int64_t *pvalue, const char *text)
{
    bool is_on = strcasecmp(text, "on") == 0;

    if (!is_on && strcasecmp(text, "off") != 0) {
        return false;
    }
    *pvalue = is_on;
    return true;
}
