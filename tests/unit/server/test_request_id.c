#include "server/request_id.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static void assert_new(const char *id)
{
    ck_assert_uint_eq(strlen(id), REQUEST_ID_NEW_LEN);
    ck_assert_uint_eq(strspn(id, "0123456789abcdef"), REQUEST_ID_NEW_LEN);
}

START_TEST(request_id_takes_over_what_the_client_sent)
{
    static const char *const texts[] = {"a", "!~", "0af7651916cd43dd8448eb211c80319c", "5f2b-\"<>\\%"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char id[REQUEST_ID_MAX + 1];
        ck_assert(request_id_is_valid(texts[i]));
        ck_assert_uint_eq(request_id_choose(texts[i], id), strlen(texts[i]));
        ck_assert_str_eq(id, texts[i]);
    }
}
END_TEST

START_TEST(request_id_takes_over_up_to_128_characters)
{
    char text[REQUEST_ID_MAX + 2], id[REQUEST_ID_MAX + 1];
    memset(text, 'x', sizeof text);
    text[REQUEST_ID_MAX] = '\0';
    ck_assert_uint_eq(request_id_choose(text, id), REQUEST_ID_MAX);
    ck_assert_str_eq(id, text);
    text[REQUEST_ID_MAX] = 'x';
    text[REQUEST_ID_MAX + 1] = '\0';
    ck_assert_uint_eq(request_id_choose(text, id), REQUEST_ID_NEW_LEN);
    assert_new(id);
}
END_TEST

START_TEST(request_id_takes_visible_ascii_and_no_other_byte)
{
    for (unsigned byte = 1; byte < 256; byte++) {
        const char alone[] = {(char)byte, '\0'}, within[] = {'a', (char)byte, 'b', '\0'};
        ck_assert_int_eq(request_id_is_valid(alone), byte > ' ' && byte < 0x7F);
        ck_assert_int_eq(request_id_is_valid(within), byte > ' ' && byte < 0x7F);
    }
}
END_TEST

START_TEST(request_id_is_new_where_the_client_sent_none)
{
    static const char *const texts[] = {NULL, "", "a b", "a\n", "\xC3\xA9"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char id[REQUEST_ID_MAX + 1];
        ck_assert(!request_id_is_valid(texts[i]));
        ck_assert_uint_eq(request_id_choose(texts[i], id), REQUEST_ID_NEW_LEN);
        assert_new(id);
    }
}
END_TEST

enum { THREADS = 8, THREAD_IDS = 20000, IDS = THREADS * THREAD_IDS };

typedef char new_id[REQUEST_ID_NEW_LEN + 1];

static void *make_many(void *argument)
{
    new_id *ids = argument;
    for (size_t i = 0; i < THREAD_IDS; i++)
        request_id_new(ids[i]);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

START_TEST(request_id_never_repeats_in_any_thread)
{
    static new_id ids[IDS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, make_many, ids[i * THREAD_IDS]), 0);
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    qsort(ids, IDS, sizeof *ids, compare);
    assert_new(ids[0]);
    for (size_t i = 1; i < IDS; i++)
        if (strcmp(ids[i - 1], ids[i]) == 0)
            ck_abort_msg("%s came twice", ids[i]);
}
END_TEST

/* Each of the 128 bits is set in about half of the ids; by chance one is off by a tenth once in 10^80 runs. */
START_TEST(request_id_uses_all_of_its_bits)
{
    enum { COUNT = 10000 };
    size_t set[REQUEST_ID_NEW_LEN][4] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        new_id id;
        request_id_new(id);
        for (size_t digit = 0; digit < REQUEST_ID_NEW_LEN; digit++) {
            unsigned value = (unsigned)(strchr("0123456789abcdef", id[digit]) - "0123456789abcdef");
            for (size_t bit = 0; bit < 4; bit++)
                set[digit][bit] += value >> bit & 1;
        }
    }
    for (size_t digit = 0; digit < REQUEST_ID_NEW_LEN; digit++)
        for (size_t bit = 0; bit < 4; bit++)
            ck_assert(set[digit][bit] > COUNT * 4 / 10 && set[digit][bit] < COUNT * 6 / 10);
}
END_TEST

static bool forbid_getrandom(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    char byte;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 && getrandom(&byte, 1, 0) < 0;
}

START_TEST(request_id_differs_between_threads_without_random_bytes)
{
    enum { FEW = 4 };
    static new_id ids[FEW][THREAD_IDS];
    if (!forbid_getrandom()) {
        UNIT_SKIP("getrandom cannot be forbidden here");
        return;
    }
    for (size_t i = 0; i < FEW; i++) {
        pthread_t thread; /* one after the other: they may have the same stack and the same number */
        ck_assert_int_eq(pthread_create(&thread, NULL, make_many, ids[i]), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
    qsort(ids, FEW * THREAD_IDS, sizeof ids[0][0], compare);
    for (size_t i = 1; i < FEW * THREAD_IDS; i++)
        ck_assert(strcmp((*ids)[i - 1], (*ids)[i]) != 0);
}
END_TEST

UNIT_MAIN("server/request_id", request_id_takes_over_what_the_client_sent,
          request_id_takes_over_up_to_128_characters, request_id_takes_visible_ascii_and_no_other_byte,
          request_id_is_new_where_the_client_sent_none, request_id_never_repeats_in_any_thread,
          request_id_uses_all_of_its_bits, request_id_differs_between_threads_without_random_bytes)
