/* Outcomes and their texts. Every fallible function of engine/ and server/ returns `enum status` and, where a
 * person will read about it, fills a `struct error`: what came and what was expected, and how to put it right.
 * Stateless; any thread may call it.
 *
 *     if (rows > limits->rows_max) {
 *         error_set(err, STATUS_TOO_LARGE, "%zu rows in one request, at most %zu are taken", rows, rows_max);
 *         return error_hint(err, "split the request, or start mlpd with a larger --rows-max");
 *     }
 */
#ifndef MLPD_ENGINE_STATUS_H
#define MLPD_ENGINE_STATUS_H

#define STATUS_MAP(X)                                                                                       \
    X(STATUS_OK, "ok")                                                                                      \
    X(STATUS_INVALID, "invalid argument")       /* what was sent is wrong: the sender's to mend */          \
    X(STATUS_UNSUPPORTED, "unsupported format") /* well-formed perhaps, but not a kind that is read here */ \
    X(STATUS_TOO_LARGE, "too large")            /* over a limit that has a name */                          \
    X(STATUS_NOT_FOUND, "not found")            /* no such file, model or path */                           \
    X(STATUS_OVERLOADED, "overloaded")          /* right, but not now: try again */                         \
    X(STATUS_EXPIRED, "deadline exceeded")      /* the answer was not ready in time */                      \
    X(STATUS_CANCELLED, "cancelled")            /* nobody waits for the answer any more */                  \
    X(STATUS_NO_MEMORY, "out of memory")        /* an allocation failed */                                  \
    X(STATUS_IO, "input/output error")          /* the operating system refused */                          \
    X(STATUS_INTERNAL, "internal error")        /* the result cannot be given: the device, or the model's numbers */

enum status {
#define STATUS_ENUM(name, text) name,
    STATUS_MAP(STATUS_ENUM)
#undef STATUS_ENUM
};

struct error {
    enum status status;
    char message[384]; /* what came and what was expected; never empty when status is not STATUS_OK */
    char hint[384];    /* how to put it right; may be empty */
};

/* The status in words, for example "not found". Never NULL. */
const char *status_text(enum status status);

/* Writes status and message (truncated to fit, always valid UTF-8 if the input was) and empties the hint.
 * `err` may be NULL. Returns `status`, so that a refusal is one line. */
enum status error_set(struct error *err, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes the hint beside a message that error_set wrote. Returns err->status; STATUS_INTERNAL if err is NULL, so
 * that a function whose callers may give none, yet want the status, returns the status itself. */
enum status error_hint(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts where it happened ("part 2: ") before the message, and keeps status and hint. Returns err->status
 * (STATUS_INTERNAL if err is NULL). */
enum status error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* The analyser sees one file at a time, and must be told that a refusal is never STATUS_OK. */
static inline enum status status_of_failure(enum status status)
{
    return status == STATUS_OK ? STATUS_INTERNAL : status;
}
#define error_set(...)    status_of_failure((error_set)(__VA_ARGS__))
#define error_hint(...)   status_of_failure((error_hint)(__VA_ARGS__))
#define error_prefix(...) status_of_failure((error_prefix)(__VA_ARGS__))
#endif

#endif
