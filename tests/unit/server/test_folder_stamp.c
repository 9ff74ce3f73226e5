#include "server/folder_stamp.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/engine/folder.h"

static uint64_t digest(const char *folder)
{
    struct folder_stamp stamp;
    folder_stamp(folder, &stamp);
    return stamp.digest;
}

/* The kernel's clock for files advances in steps of some milliseconds. */
static void let_the_clock_advance(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
}

START_TEST(folder_stamp_changes_with_its_files_and_not_without)
{
    char *folder = folder_create();
    uint64_t empty = digest(folder);
    folder_write(folder, "a", "1");
    folder_write(folder, "b", "1");
    uint64_t two = digest(folder);
    ck_assert_uint_ne(two, empty);
    ck_assert_uint_eq(digest(folder), two);
    folder_write(folder, ".hidden", "1");
    ck_assert_uint_eq(digest(folder), two);
    folder_write(folder, "a", "22");
    uint64_t longer = digest(folder);
    ck_assert_uint_ne(longer, two);
    let_the_clock_advance();
    folder_write(folder, "a", "33");
    ck_assert_uint_ne(digest(folder), longer);
    folder_remove(folder);
}
END_TEST

START_TEST(folder_stamp_changes_when_a_file_takes_anothers_place)
{
    char *folder = folder_create(), *a = folder_path(folder, "a"), *b = folder_path(folder, "b");
    folder_write(folder, "a", "1");
    uint64_t before = digest(folder);
    folder_write(folder, "b", "1");
    ck_assert_int_eq(rename(b, a), 0);
    ck_assert_uint_ne(digest(folder), before);
    free(a);
    free(b);
    folder_remove(folder);
}
END_TEST

START_TEST(folder_stamp_follows_links)
{
    char *folder = folder_create(), *link = folder_path(folder, "..data"), *file = folder_path(folder, "a");
    folder_make(folder, "..one");
    folder_make(folder, "..two");
    folder_write(folder, "..one/a", "1");
    folder_write(folder, "..two/a", "1");
    ck_assert_int_eq(symlink("..one", link), 0);
    ck_assert_int_eq(symlink("..data/a", file), 0);
    uint64_t before = digest(folder);
    ck_assert_int_eq(unlink(link), 0);
    ck_assert_int_eq(symlink("..two", link), 0);
    ck_assert_uint_ne(digest(folder), before);
    free(link);
    free(file);
    folder_remove(folder);
}
END_TEST

START_TEST(folder_stamp_tells_a_folder_that_was_moved_to_its_place_from_one_that_is_being_written)
{
    char *folder = folder_create(), *made = folder_path(folder, "made"), *placed = folder_path(folder, "1");
    struct folder_stamp stamp;
    folder_make(folder, "made");
    folder_write(folder, "made/a", "1");
    folder_stamp(made, &stamp);
    ck_assert(!stamp.moved_in);
    let_the_clock_advance();
    ck_assert_int_eq(rename(made, placed), 0);
    folder_stamp(placed, &stamp);
    ck_assert(stamp.moved_in);
    let_the_clock_advance();
    folder_write(folder, "1/b", "1");
    folder_stamp(placed, &stamp);
    ck_assert(!stamp.moved_in);
    free(made);
    free(placed);
    folder_remove(folder);
}
END_TEST

START_TEST(folder_stamp_of_a_folder_that_is_not_there_is_that_of_an_empty_one)
{
    struct folder_stamp stamp;
    folder_stamp("/nowhere/at/all", &stamp);
    ck_assert_uint_eq(stamp.files, 0);
    ck_assert(!stamp.moved_in);
}
END_TEST

START_TEST(folder_stamp_of_a_file_changes_when_another_takes_its_place)
{
    char *folder = folder_create(), *net = folder_path(folder, "net"), *other = folder_path(folder, "other");
    struct folder_stamp stamp;
    folder_write(folder, "net", "1");
    folder_write(folder, "other", "1");
    folder_stamp(net, &stamp);
    ck_assert_uint_eq(stamp.files, 1);
    ck_assert(!stamp.moved_in);
    ck_assert_uint_eq(digest(net), stamp.digest);
    ck_assert_int_eq(rename(other, net), 0);
    ck_assert_uint_ne(digest(net), stamp.digest);
    free(net);
    free(other);
    folder_remove(folder);
}
END_TEST

UNIT_MAIN("server/folder_stamp", folder_stamp_changes_with_its_files_and_not_without,
          folder_stamp_changes_when_a_file_takes_anothers_place, folder_stamp_follows_links,
          folder_stamp_tells_a_folder_that_was_moved_to_its_place_from_one_that_is_being_written,
          folder_stamp_of_a_folder_that_is_not_there_is_that_of_an_empty_one,
          folder_stamp_of_a_file_changes_when_another_takes_its_place)
