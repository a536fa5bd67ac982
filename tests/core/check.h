/* What C tests share: a check that goes on after a failure, and the exit code. One test program per source file. */
#ifndef CHECK_H
#define CHECK_H
#include <stdio.h>

static int check_failures;
static int check_count;

#define CHECK(claim)                                                            \
    do {                                                                        \
        check_count++;                                                          \
        if (!(claim)) {                                                         \
            check_failures++;                                                   \
            fprintf(stderr, "%s:%d: %s: not %s\n", __FILE__, __LINE__, __func__, #claim); \
        }                                                                       \
    } while (0)

#define CHECK_EQ(got, wanted)                                                   \
    do {                                                                        \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted);       \
        check_count++;                                                          \
        if (got_ != wanted_) {                                                  \
            check_failures++;                                                   \
            fprintf(stderr, "%s:%d: %s: %s is %lld, not %lld\n", __FILE__, __LINE__, __func__, #got, got_, wanted_); \
        }                                                                       \
    } while (0)

static inline int check_done(void)
{
    printf("%d checks, %d failed\n", check_count, check_failures);
    return check_failures != 0;
}

#endif
