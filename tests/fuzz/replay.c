/* replay: gives files to a fuzz target, one after the other, without a fuzzer.
 *
 *     replay_TARGET FILE|DIRECTORY...
 *
 * A file of a directory whose name begins with a dot is passed over. */
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

static const char *current = "";
static unsigned count;

/* Of the sanitizers' library, where they are built in. */
void __sanitizer_set_death_callback(void (*callback)(void))
    __attribute__((weak));

/* Only write(2): this may be a signal's handler. */
static void tell_current(void)
{
    static const char text[] = "Input: ";
    ssize_t written;

    written = write(STDERR_FILENO, text, sizeof(text) - 1);
    written += write(STDERR_FILENO, current, strlen(current));
    written += write(STDERR_FILENO, "\n", 1);
    (void)written;
}

static void on_signal(int number)
{
    tell_current();
    signal(number, SIG_DFL);
    raise(number);
}

static bool run_file(const char *path)
{
    fuzz_bytes_t input = {0};
    uint8_t part[4096];
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    size_t length;

    if (file == NULL) {
        perror(path);
        return false;
    }
    while ((length = fread(part, 1, sizeof(part), file)) > 0) {
        fuzz_add(&input, part, length);
    }
    fclose(file);
    current = path;
    data = fuzz_copy(input.data, input.length);
    LLVMFuzzerTestOneInput(data, input.length);
    free(data);
    fuzz_free(&input);
    current = "";
    count++;
    return true;
}

static bool run_directory(const char *path)
{
    struct dirent **entries;
    int entry_count = scandir(path, &entries, NULL, alphasort);
    bool good = entry_count >= 0;
    char name[4096];
    int i;

    if (!good) {
        perror(path);
        return false;
    }
    for (i = 0; i < entry_count; i++) {
        if (entries[i]->d_name[0] != '.') {
            snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
            good = run_file(name) && good;
        }
        free(entries[i]);
    }
    free(entries);
    return good;
}

int main(int argc, char **argv)
{
    struct stat status;
    bool good = true;
    int i;

    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(tell_current);
    }
    for (i = 1; i < argc; i++) {
        good = (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode)
                    ? run_directory(argv[i])
                    : run_file(argv[i])) &&
               good;
    }
    printf("%u inputs\n", count);
    return good && count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
