/* Options read from a command line, an environment and a config file that a test writes down.
 *
 *     PARSED("--port", "9000")->port                        // a line alone
 *     REFUSED("did you mean --port", "--prot", "9000")      // some fault says these words
 *     parsed(LINE("--port", "1"), LINE("MLPD_PORT=2"))      // with an environment
 *
 * The options that PARSED gives are the test's until the next ones.
 */
#ifndef MLPD_TESTS_UNIT_SERVER_PARSING_H
#define MLPD_TESTS_UNIT_SERVER_PARSING_H

#include <stdint.h>

#include "server/options.h"
#include "tests/unit/unit.h"

enum { ARGUMENTS_MAX = 40 };

#define LINE(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }
#define NOTHING               ((const char *const[]){NULL})
#define PARSED(...)           parsed(LINE(__VA_ARGS__), NOTHING)
#define REFUSED(message, ...) assert_refused(LINE(__VA_ARGS__), NOTHING, message)

/* Parses "mlpd" and these arguments. */
static inline enum status parse(const char *const *arguments, const char *const *environment, struct options *ret,
                                struct option_faults *faults)
{
    static char program[] = "mlpd", *argv[ARGUMENTS_MAX + 2] = {program}, *variables[ARGUMENTS_MAX + 1];
    int argc = 1, count = 0;
    for (; *arguments; arguments++)
        argv[argc++] = (char *)(uintptr_t)*arguments;
    for (; *environment; environment++)
        variables[count++] = (char *)(uintptr_t)*environment;
    ck_assert(argc < ARGUMENTS_MAX + 2 && count < ARGUMENTS_MAX + 1);
    argv[argc] = variables[count] = NULL;
    return options_parse(argc, argv, variables, ret, faults);
}

static inline struct options *parsed(const char *const *arguments, const char *const *environment)
{
    static struct options options;
    struct option_faults faults;
    options_free(&options);
    enum status status = parse(arguments, environment, &options, &faults);
    ck_assert_msg(status == STATUS_OK, "%s; %s", faults.list[0].message, faults.list[0].hint);
    ck_assert_uint_eq(faults.count, 0);
    return &options;
}

/* Whether the fault, as it is shown, has these words. */
static inline bool fault_says(const struct error *fault, const char *words)
{
    char text[sizeof fault->message + sizeof fault->hint + 2];
    snprintf(text, sizeof text, "%s; %s", fault->message, fault->hint);
    return strstr(text, words) != NULL;
}

/* The only fault says these words, and has a mend. */
static inline void assert_refused(const char *const *arguments, const char *const *environment, const char *words)
{
    struct options options, before;
    struct option_faults faults;
    memset(&before, 0x5A, sizeof before);
    options = before;
    enum status status = parse(arguments, environment, &options, &faults);
    ck_assert_msg(status != STATUS_OK, "\"%s\" was expected", words);
    ck_assert_msg(faults.count == 1, "%zu faults: %s; %s", faults.count, faults.list[0].message,
                  faults.list[1].message);
    ck_assert_int_eq(faults.list[0].status, status);
    ck_assert_msg(fault_says(&faults.list[0], words), "\"%s\" is not in: %s; %s", words, faults.list[0].message,
                  faults.list[0].hint);
    ck_assert_str_ne(faults.list[0].message, "");
    ck_assert_str_ne(faults.list[0].hint, "");
    ck_assert_mem_eq(&options, &before, sizeof before);
}

#endif
