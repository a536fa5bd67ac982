/* Runs one fuzz target over kept inputs, without a fuzzer: `make replay`, a gate of `make test`.
 *
 * Linked with a target (tests/fuzz/fuzz_NAME.c). Each argument is a file or a folder of files; a folder that is not there
 * counts as empty, so that a target needs no repro folder before something broke it. Every input is copied to a heap
 * block of exactly its size: one byte read past it is a report of AddressSanitizer.
 *
 * Also runs the empty input and, of each file, some of its prefixes: a message that ends early is what a parser gets wrong.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1u << 20) /* bytes; larger than any message with its framing */
#define PREFIXES 64u         /* of each file, evenly spread */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long inputs;

static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact) {
        perror("malloc");
        exit(1);
    }
    if (size)
        memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    inputs++;
}

static void run_prefixes(const uint8_t *data, size_t size)
{
    size_t step = size / PREFIXES + 1;

    for (size_t cut = 0; cut < size; cut += step)
        run(data, cut);
}

static int run_file(const char *path)
{
    static uint8_t data[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file) {
        perror(path);
        return 1;
    }
    size = fread(data, 1, sizeof data, file);
    fclose(file);
    run(data, size);
    run_prefixes(data, size);
    return 0;
}

static int run_folder(const char *path)
{
    struct dirent **names;
    int failed = 0;
    int count = scandir(path, &names, NULL, alphasort);

    if (count < 0) {
        perror(path);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        char inner[4096];

        if (names[i]->d_name[0] != '.') {
            snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name);
            failed |= run_file(inner);
        }
        free(names[i]);
    }
    free(names);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;

    run(NULL, 0);
    for (int i = 1; i < argc; i++) {
        struct stat found;

        if (stat(argv[i], &found) < 0) {
            if (errno != ENOENT) {
                perror(argv[i]);
                failed = 1;
            }
            continue;
        }
        failed |= S_ISDIR(found.st_mode) ? run_folder(argv[i]) : run_file(argv[i]);
    }
    printf("%s %s: %lu inputs\n", failed ? "not ok" : "ok", strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0], inputs);
    return failed;
}
