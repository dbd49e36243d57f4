/* soak_layers [SECONDS [SEED]]: see layers.h. "make soak SANITIZE=thread". */
#include <apr_general.h>
#include <stdio.h>
#include <stdlib.h>

#include "layers.h"

int main(int argc, char **argv)
{
    soak_options_t options = {
        .duration = 60000,
        .seed = 1,
        .drivers = 4,
        .clients = 150,
        .reports = true,
    };
    bool is_good;

    if (argc > 1) {
        options.duration = strtoll(argv[1], NULL, 10) * 1000;
    }
    if (argc > 2) {
        options.seed = (uint32_t)strtoul(argv[2], NULL, 10);
    }
    if (argc > 3 || options.duration <= 0 || options.seed == 0) {
        fprintf(stderr, "usage: %s [SECONDS [SEED]]\n", argv[0]);
        return 2;
    }
    apr_initialize();
    printf("%lld s, seed %u: %u workers, %u x %u clients\n",
           (long long)(options.duration / 1000), options.seed, SOAK_WORKERS,
           options.drivers, options.clients);
    fflush(stdout);
    is_good = soak_run(&options);
    apr_terminate();
    puts(is_good ? "good" : "NOT good");
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
