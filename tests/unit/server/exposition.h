/* Reads Prometheus's text format as far as tests need it: the value of one series, and whether every line is right. */
#ifndef MLPD_TESTS_UNIT_SERVER_EXPOSITION_H
#define MLPD_TESTS_UNIT_SERVER_EXPOSITION_H

#include <stdbool.h>

#include "server/metrics.h"
#include "tests/unit/unit.h"

static inline struct metrics *exposition_metrics(void)
{
    struct metrics *metrics;
    struct error err;
    ck_assert_int_eq(metrics_create(&metrics, &err), STATUS_OK);
    return metrics;
}

static inline struct metrics_shard *exposition_shard(struct metrics *metrics)
{
    struct metrics_shard *shard = metrics_shard_create(metrics);
    ck_assert_ptr_nonnull(shard);
    return shard;
}

/* What metrics_write writes, or metrics_write_triton; for free(). */
static inline char *exposition_text(struct metrics *metrics)
{
    struct buffer out = {0};
    metrics_write(metrics, &(struct metrics_state){.version = "1.2.3", .ready = true}, &out);
    ck_assert(!out.failed);
    return out.data;
}

static inline char *exposition_triton(struct metrics *metrics)
{
    struct buffer out = {0};
    metrics_write_triton(metrics, &out);
    ck_assert(!out.failed);
    return out.data;
}

/* The text behind `series` and a blank, at the start of a line; NULL if there is no such series. */
static inline const char *exposition_find(const char *text, const char *series)
{
    size_t len = strlen(series);
    for (const char *at = text; (at = strstr(at, series)); at++)
        if ((at == text || at[-1] == '\n') && at[len] == ' ')
            return at + len + 1;
    return NULL;
}

/* Where a number stands that is no whole one, and for what must be there exactly. */
static inline void exposition_assert(const char *text, const char *series, const char *expected)
{
    const char *value = exposition_find(text, series);
    ck_assert_msg(value != NULL, "no %s in:\n%s", series, text);
    size_t len = strcspn(value, "\n");
    ck_assert_msg(len == strlen(expected) && memcmp(value, expected, len) == 0, "%s is %.*s, not %s", series,
                  (int)len, value, expected);
}

static inline unsigned long long exposition_value(const char *text, const char *series)
{
    const char *value = exposition_find(text, series);
    ck_assert_msg(value != NULL, "no %s in:\n%s", series, text);
    return strtoull(value, NULL, 10);
}

/* The same of the metrics as they are now. */
static inline unsigned long long exposition_now(struct metrics *metrics, const char *series)
{
    char *text = exposition_text(metrics);
    unsigned long long value = exposition_value(text, series);
    free(text);
    return value;
}

#endif
