#include "server/request_id.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* Two counters of 64 bits start anywhere, per thread, and move by two odd steps; each is mixed by a bijection (splitmix64's).
 * So a thread repeats no id before 2^64, and two threads with n ids each meet with a probability of 2n / 2^128: both
 * counters would have to be the same number of steps apart. */

enum { STEP_COUNT = 2 };

static const uint64_t steps[STEP_COUNT] = {0x9E3779B97F4A7C15U, 0xD1342543DE82EF95U};

static _Thread_local struct {
    bool seeded;
    uint64_t counters[STEP_COUNT];
} own;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

/* Where the system has no random bytes to give, what tells threads and processes apart has to do. */
static void seed_without_randomness(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t time = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
    own.counters[0] = mix(time ^ (uint64_t)(uintptr_t)&own);
    own.counters[1] = mix(time + (uint64_t)gettid() * steps[0]);
}

static void seed(void)
{
    if (getrandom(own.counters, sizeof own.counters, 0) != (ssize_t)sizeof own.counters)
        seed_without_randomness();
    own.seeded = true;
}

/* The 16 hex digits, the high one first. */
static void write_hex(uint64_t value, char *dst)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++)
        dst[i] = digits[value >> (60 - 4 * i) & 15];
}

void request_id_new(char ret_id[REQUEST_ID_NEW_LEN + 1])
{
    if (!own.seeded)
        seed();
    for (size_t i = 0; i < STEP_COUNT; i++)
        write_hex(mix(own.counters[i] += steps[i]), ret_id + 16 * i);
    ret_id[REQUEST_ID_NEW_LEN] = '\0';
}

bool request_id_is_valid(const char *text)
{
    size_t len = 0;
    if (!text)
        return false;
    while (len <= REQUEST_ID_MAX && text[len] > ' ' && text[len] < 0x7F)
        len++;
    return len > 0 && len <= REQUEST_ID_MAX && !text[len];
}

size_t request_id_choose(const char *sent, char ret_id[REQUEST_ID_MAX + 1])
{
    if (!request_id_is_valid(sent)) {
        request_id_new(ret_id);
        return REQUEST_ID_NEW_LEN;
    }
    size_t len = strlen(sent);
    memcpy(ret_id, sent, len + 1);
    return len;
}
