#include "server/process_stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/engine/folder.h"

/* A line of /proc/PID/stat of which the numbers are known: 9 threads, begun 123 ticks after the boot, 5 MiB of address
 * space, 7 pages resident. */
#define NUMBERS                                                                                           \
    " S 1 2 3 0 -1 4194560 10 0 0 0 11 12 0 0 20 0 9 0 123 5242880 7 18446744073709551615 1 1 0 0 0 0 0 " \
    "0 0 0 0 0 17 0 0 0 0 0 0\n"

static struct process_stats read_folder(const char *stat)
{
    char *folder = folder_create();
    struct process_stats stats;
    if (stat)
        folder_write_bytes(folder, "stat", stat, strlen(stat));
    process_stats_read(folder, &stats);
    folder_remove(folder);
    return stats;
}

static void *wait_for(void *semaphore)
{
    sem_wait(semaphore);
    return NULL;
}

static uint64_t threads_now(void)
{
    struct process_stats stats;
    process_stats_read(PROCESS_SELF, &stats);
    return stats.threads;
}

START_TEST(process_stats_counts_threads)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    sem_t end;
    sem_init(&end, 0, 0);
    uint64_t before = threads_now();
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_for, &end), 0);
    ck_assert_uint_ge(threads_now(), before + THREADS); /* ThreadSanitizer starts one of its own */
    for (size_t i = 0; i < THREADS; i++)
        sem_post(&end);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    sem_destroy(&end);
}
END_TEST

START_TEST(process_stats_counts_file_descriptors)
{
    struct process_stats before, after;
    process_stats_read(PROCESS_SELF, &before);
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    process_stats_read(PROCESS_SELF, &after);
    ck_assert_uint_eq(after.open_fds, before.open_fds + 2);
    ck_assert_uint_ge(after.max_fds, after.open_fds);
    close(pipes[0]);
    close(pipes[1]);
    process_stats_read(PROCESS_SELF, &after);
    ck_assert_uint_eq(after.open_fds, before.open_fds);
}
END_TEST

START_TEST(process_stats_counts_file_descriptors_where_the_folder_does_not_say_how_many)
{
    char *folder = folder_create();
    struct process_stats stats;
    folder_make(folder, "fd");
    process_stats_read(folder, &stats);
    ck_assert_uint_eq(stats.open_fds, 0);
    int lowest = dup(0); /* the one that the reading of the folder will get, and must not count */
    close(lowest);
    for (int i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "fd/%d", i < 5 ? lowest + 1 + i : lowest);
        folder_write_bytes(folder, name, "", 0);
    }
    process_stats_read(folder, &stats);
    ck_assert_uint_eq(stats.open_fds, 5);
    folder_remove(folder);
}
END_TEST

START_TEST(process_stats_sees_memory_and_processor_time_grow)
{
    enum { BYTES = 64 << 20 };
    struct process_stats before, after;
    process_stats_read(PROCESS_SELF, &before);
    void *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    process_stats_read(PROCESS_SELF, &after);
    munmap(memory, BYTES);
    ck_assert_uint_gt(after.resident_bytes, before.resident_bytes + BYTES / 2);
    ck_assert_uint_ge(after.virtual_bytes, after.resident_bytes);
    ck_assert_uint_gt(after.cpu_ns, before.cpu_ns);
}
END_TEST

START_TEST(process_stats_reads_the_fields_behind_any_name)
{
    static const char *const lines[] = {"42 (mlpd)" NUMBERS, "42 (a b) c)" NUMBERS, "42 ()" NUMBERS,
                                        "42 (1 (2) 3 4) S 5)" NUMBERS};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct process_stats stats = read_folder(lines[i]);
        ck_assert_uint_eq(stats.threads, 9);
        ck_assert_uint_eq(stats.virtual_bytes, 5242880);
        ck_assert_uint_eq(stats.resident_bytes, 7 * (uint64_t)sysconf(_SC_PAGESIZE));
    }
}
END_TEST

START_TEST(process_stats_does_not_know_what_is_not_there)
{
    static const char *const lines[] = {NULL,
                                        "",
                                        "42",
                                        "42 (mlpd",
                                        "42 (mlpd)",
                                        "42 (mlpd) S",
                                        "42 (mlpd) S 1 2 3",
                                        "42 (mlpd) S a b c d e f g h i j k l m n o p q r s t u v"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct process_stats stats = read_folder(lines[i]);
        ck_assert_uint_eq(stats.threads, PROCESS_UNKNOWN);
        ck_assert_uint_eq(stats.virtual_bytes, PROCESS_UNKNOWN);
        ck_assert_uint_eq(stats.resident_bytes, PROCESS_UNKNOWN);
        ck_assert_uint_eq(stats.open_fds, PROCESS_UNKNOWN);
        ck_assert_uint_ne(stats.cpu_ns, PROCESS_UNKNOWN); /* which needs no /proc */
    }
    ck_assert_uint_eq(process_start_ms("/does/not/exist"), PROCESS_UNKNOWN);
}
END_TEST

START_TEST(process_start_is_before_now_and_stays)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint64_t start_ms = process_start_ms(PROCESS_SELF);
    ck_assert_uint_le(start_ms, now_ms + 20); /* the kernel counts in ticks of 10 ms */
    ck_assert_uint_gt(start_ms + 3600 * 1000, now_ms);
    uint64_t again_ms = process_start_ms(PROCESS_SELF);
    ck_assert_uint_le(again_ms > start_ms ? again_ms - start_ms : start_ms - again_ms, 1000);
}
END_TEST

UNIT_MAIN("server/process_stats", process_stats_counts_threads, process_stats_counts_file_descriptors,
          process_stats_counts_file_descriptors_where_the_folder_does_not_say_how_many,
          process_stats_sees_memory_and_processor_time_grow, process_stats_reads_the_fields_behind_any_name,
          process_stats_does_not_know_what_is_not_there, process_start_is_before_now_and_stays)
