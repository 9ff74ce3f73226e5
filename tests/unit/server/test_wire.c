#include "server/wire.h"

#include "tests/unit/server/wire_reference.h"
#include "tests/unit/server/wire_texts.h"
#include "tests/unit/unit.h"

/* ---- what a wire says of bytes ---- */

struct verdict {
    struct wire wire;
    size_t followed;
};

/* The bytes in pieces of `piece`, the first one of `first`. Each stands in memory of its own, so that a sanitizer sees a
 * step beyond it. (Here and below, an assertion that holds is not made: libcheck tells its parent of each.) */
static struct verdict follow(struct text text, size_t first, size_t piece)
{
    struct verdict verdict = {0};
    for (size_t at = 0, len = first; at < text.len; at += len, len = piece) {
        len = len < text.len - at ? len : text.len - at;
        char *copy = malloc(len ? len : 1);
        if (!copy)
            ck_abort_msg("out of memory");
        memcpy(copy, text.at + at, len);
        size_t followed = wire_feed(&verdict.wire, copy, len);
        if (followed != len && !verdict.wire.fault)
            ck_abort_msg("%zu of %zu bytes, and no fault", followed, len);
        verdict.followed += followed;
        free(copy);
    }
    return verdict;
}

static struct verdict follow_whole(struct text text)
{
    return follow(text, text.len, text.len);
}

static void assert_good(struct text text, uint64_t heads, enum wire_place place)
{
    struct verdict verdict = follow_whole(text);
    ck_assert_msg(!verdict.wire.fault, "%s: %s", text.at, wire_fault_text(verdict.wire.fault));
    ck_assert_uint_eq(verdict.followed, text.len);
    ck_assert_uint_eq(verdict.wire.heads_begun, heads);
    ck_assert_uint_eq(verdict.wire.heads_done, heads);
    ck_assert_int_eq(wire_place(&verdict.wire), place);
}

static void assert_same(const struct verdict *one, const struct verdict *other, struct text text)
{
    const struct wire *a = &one->wire, *b = &other->wire;
    bool same = a->fault == b->fault && one->followed == other->followed && a->heads_begun == b->heads_begun &&
                a->heads_done == b->heads_done && a->head_bytes == b->head_bytes && wire_place(a) == wire_place(b);
    if (!same)
        ck_abort_msg("fault %d at %zu, head %d, and %d at %zu, head %d: %.*s", a->fault, one->followed,
                     (int)a->heads_begun, b->fault, other->followed, (int)b->heads_begun, (int)text.len, text.at);
}

static void assert_agrees(const struct verdict *verdict, struct text text)
{
    const struct wire *wire = &verdict->wire;
    struct reference expected = reference_read(text.at, text.len);
    if (wire->fault != expected.fault)
        ck_abort_msg("\"%s\" is said, \"%s\" expected: %.*s", wire_fault_text(wire->fault),
                     wire_fault_text(expected.fault), (int)text.len, text.at);
    bool agrees = verdict->followed == (expected.fault ? expected.fault_at : text.len) &&
                  wire->heads_begun == expected.heads_begun && wire->heads_done == expected.heads_done &&
                  wire_place(wire) == expected.place;
    if (!agrees)
        ck_abort_msg("byte %zu, head %d, place %d; expected %zu, %d, %d: %.*s", verdict->followed,
                     (int)wire->heads_begun, wire_place(wire), expected.fault_at, (int)expected.heads_begun,
                     expected.place, (int)text.len, text.at);
}

/* ---- what is right ---- */

START_TEST(wire_follows_good_requests_to_their_end)
{
    for (size_t i = 0; i < COUNT(wire_good); i++)
        assert_good(wire_good[i], i == 12 ? 3 : 1, WIRE_BETWEEN);
}
END_TEST

static void feed(struct wire *wire, struct text text)
{
    ck_assert_uint_eq(wire_feed(wire, text.at, text.len), text.len);
}

START_TEST(wire_counts_a_head_as_begun_by_its_first_byte_and_as_done_by_its_last)
{
    struct wire wire = {0};
    ck_assert_int_eq(wire_place(&wire), WIRE_BETWEEN);
    feed(&wire, T("\r\n\r"));
    ck_assert_int_eq(wire_place(&wire), WIRE_BETWEEN);
    ck_assert_uint_eq(wire.heads_begun, 0);
    feed(&wire, T("\nG"));
    ck_assert_int_eq(wire_place(&wire), WIRE_IN_HEAD);
    ck_assert_uint_eq(wire.heads_begun, 1);
    feed(&wire, T("ET / HTTP/1.0\r\nContent-Length: 1\r\n\r"));
    ck_assert_uint_eq(wire.heads_done, 0);
    feed(&wire, T("\n"));
    ck_assert_uint_eq(wire.heads_done, 1);
    ck_assert_int_eq(wire_place(&wire), WIRE_IN_BODY);
    ck_assert_uint_eq(wire.head_bytes, strlen("GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\n"));
    feed(&wire, T("x"));
    ck_assert_int_eq(wire_place(&wire), WIRE_BETWEEN);
    ck_assert_uint_eq(wire.heads_begun, 1);
}
END_TEST

START_TEST(wire_counts_the_bytes_of_the_head_at_hand)
{
    struct wire one = {0}, two = {0}, chunked = {0};
    feed(&one, T(GOOD));
    ck_assert_uint_eq(one.head_bytes, strlen(GOOD) - strlen("abc"));
    feed(&two, T(GOOD "\r\nGET /"));
    ck_assert_uint_eq(two.head_bytes, strlen("GET /"));
    feed(&chunked, T(CHUNKED "1\r\na\r\n0\r\nA: b\r\n\r\n"));
    ck_assert_uint_eq(chunked.head_bytes, strlen(CHUNKED "A: b\r\n\r\n"));
}
END_TEST

START_TEST(wire_takes_no_byte_of_a_body_for_a_request)
{
    assert_good(T(LINE HOST "Content-Length: 43\r\n\r\n" LINE HOST "\r\n" LINE HOST "\r\n"), 2, WIRE_BETWEEN);
    assert_good(T(LINE HOST "Content-Length: 99\r\n\r\n" LINE HOST "\r\n"), 1, WIRE_IN_BODY);
    assert_good(T(CHUNKED "2b\r\n" LINE HOST "\r\n\r\n0\r\n\r\n"), 1, WIRE_BETWEEN);
    assert_good(T(CHUNKED "FF\r\n" LINE HOST "\r\n\r\n0\r\n\r\n"), 1, WIRE_IN_BODY);
    assert_good(T(CHUNKED "1\r\n0\r\n0\r\n"), 1, WIRE_IN_BODY);
}
END_TEST

START_TEST(wire_counts_bodies_of_up_to_63_bits)
{
    static char piece[65536];
    struct wire wire = {0}, chunked = {0};
    feed(&wire, T(LINE HOST "Content-Length: 9223372036854775807\r\n\r\n"));
    ck_assert_uint_eq(wire.left, INT64_MAX);
    for (int i = 0; i < 1000; i++)
        feed(&wire, (struct text){piece, sizeof piece});
    ck_assert_uint_eq(wire.left, INT64_MAX - 1000 * sizeof piece);
    feed(&chunked, T(CHUNKED "7fffffffFFFFFFFF\r\n\n"));
    ck_assert_uint_eq(chunked.left, INT64_MAX - 1);
}
END_TEST

/* ---- what is wrong ---- */

/* The '@' stands before the byte that shows the fault, and is taken out. */
static const struct {
    enum wire_fault fault;
    struct text text;
} bad[] = {
    {WIRE_REQUEST_LINE, TEXT("GET@\r\n\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET @ / HTTP/1.1\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET /@\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / @ HTTP/1.1\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET /a b@ HTTP/1.1\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / HTTP/1.1@ \r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET@\t/ HTTP/1.1\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET /@\tHTTP/1.1\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / HTTP/1.1@\t\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / HTTP/1.11@\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / HTTP/1@\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / http/1.1@\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / HTTP/1,1@\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / HTTP/1.x@\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / HTTP/-.1@\r\n")},
    {WIRE_REQUEST_LINE, TEXT("GET / A-Version-Of-More-Than-Twenty-Characters@\r\n")},
    {WIRE_REQUEST_LINE, TEXT("G@(T / HTTP/1.1\r\n")},
    {WIRE_REQUEST_LINE, TEXT("@\xC3\xA9 / HTTP/1.1\r\n")},
    {WIRE_REQUEST_LINE, TEXT("@ GET / HTTP/1.1\r\n")},
    {WIRE_REQUEST_LINE, TEXT("@:\r\n")},
    {WIRE_VERSION, TEXT("GET / HTTP/2.0@\r\n\r\n")},
    {WIRE_VERSION, TEXT("PRI * HTTP/2.0@\r\n\r\nSM\r\n\r\n")},
    {WIRE_VERSION, TEXT("GET / HTTP/9.9@\r\n\r\n")},
    {WIRE_VERSION, TEXT("GET / HTTP/0.9@\r\n\r\n")},
    {WIRE_CONNECT, TEXT("CONNECT@ a:443 HTTP/1.1\r\nHost: a\r\n\r\n")},
    {WIRE_CONTROL, TEXT("@\x16\x03\x01\x02")},
    {WIRE_CONTROL, TEXT("@\0GET / HTTP/1.1\r\n")},
    {WIRE_CONTROL, TEXT("G@\x01T / HTTP/1.1\r\n")},
    {WIRE_CONTROL, TEXT("GET /@\0 HTTP/1.1\r\n")},
    {WIRE_CONTROL, TEXT("GET /@\x7F HTTP/1.1\r\n")},
    {WIRE_CONTROL, TEXT("GET / HTTP/@\x0B"
                        "1.1\r\n")},
    {WIRE_CONTROL, TEXT(LINE "@\0\r\n")},
    {WIRE_CONTROL, TEXT(LINE "A@\0: b\r\n")},
    {WIRE_CONTROL, TEXT(LINE "A: b@\0c\r\n")},
    {WIRE_CONTROL, TEXT(LINE "A: bcdefghijklm@\x7Fn\r\n")},
    {WIRE_CONTROL, TEXT(LINE "A: b\tcdefghijklm\t@\x1Fn\r\n")},
    {WIRE_CONTROL, TEXT(LINE HOST "Content-Length: 1@\0\r\n")},
    {WIRE_CONTROL, TEXT(LINE HOST "Transfer-Encoding:@\x0B"
                                  "chunked\r\n")},
    {WIRE_CONTROL, TEXT(CHUNKED "1@\0\r\n")},
    {WIRE_CONTROL, TEXT(CHUNKED "1;a@\x08\r\n")},
    {WIRE_CONTROL, TEXT(CHUNKED "0\r\nA: @\0\r\n")},
    {WIRE_BARE_CR, TEXT("\r@\r\n" GOOD)},
    {WIRE_BARE_CR, TEXT("\r@GET / HTTP/1.1\r\n")},
    {WIRE_BARE_CR, TEXT("GET / HTTP/1.1\r@\r\n")},
    {WIRE_BARE_CR, TEXT(LINE "A: b\r@c\r\n")},
    {WIRE_BARE_CR, TEXT(LINE "A: b\r@Transfer-Encoding: chunked\r\n")},
    {WIRE_BARE_CR, TEXT(LINE HOST "\r@\r\n")},
    {WIRE_BARE_CR, TEXT(LINE HOST "\r@x\n")},
    {WIRE_BARE_CR, TEXT(CHUNKED "1\r@x")},
    {WIRE_BARE_CR, TEXT(CHUNKED "1;a\r@b\r\n")},
    {WIRE_BARE_CR, TEXT(CHUNKED "0\r\n\r@x")},
    {WIRE_BARE_LF, TEXT("@\n" GOOD)},
    {WIRE_BARE_LF, TEXT("GET@\n")},
    {WIRE_BARE_LF, TEXT("GET /@\n")},
    {WIRE_BARE_LF, TEXT("GET / HTTP/1.1@\n")},
    {WIRE_BARE_LF, TEXT(LINE "A: b@\nContent-Length: 5\r\n")},
    {WIRE_BARE_LF, TEXT(LINE "A:@\n")},
    {WIRE_BARE_LF, TEXT(LINE "A@\n")},
    {WIRE_BARE_LF, TEXT(LINE HOST "Content-Length: 1@\n\r\n")},
    {WIRE_BARE_LF, TEXT(LINE HOST "@\n")},
    {WIRE_BARE_LF, TEXT(CHUNKED "1@\na\r\n")},
    {WIRE_BARE_LF, TEXT(CHUNKED "1;a@\na\r\n")},
    {WIRE_BARE_LF, TEXT(CHUNKED "0\r\n@\n")},
    {WIRE_FOLDED, TEXT(LINE "@ A: b\r\n")},
    {WIRE_FOLDED, TEXT(LINE "@\tA: b\r\n")},
    {WIRE_FOLDED, TEXT(LINE HOST "A: b\r\n@ c\r\n\r\n")},
    {WIRE_FOLDED, TEXT(LINE HOST "A: chun\r\n@\tked\r\n\r\n")},
    {WIRE_FOLDED, TEXT(LINE HOST "@ \r\n\r\n")},
    {WIRE_FOLDED, TEXT(CHUNKED "0\r\n@ a\r\n\r\n")},
    {WIRE_NAME_BLANK, TEXT(LINE HOST "Content-Length@ : 3\r\n\r\nabc")},
    {WIRE_NAME_BLANK, TEXT(LINE HOST "Content-Length@\t: 3\r\n\r\nabc")},
    {WIRE_NAME_BLANK, TEXT(LINE HOST "Content@ Length: 3\r\n\r\nabc")},
    {WIRE_NAME_BLANK, TEXT(CHUNKED "0\r\nA@ : b\r\n\r\n")},
    {WIRE_NAME_EMPTY, TEXT(LINE HOST "@: 3\r\n\r\n")},
    {WIRE_NAME_EMPTY, TEXT(CHUNKED "0\r\n@:\r\n\r\n")},
    {WIRE_NAME_CHARACTER, TEXT(LINE HOST "A@(b): c\r\n\r\n")},
    {WIRE_NAME_CHARACTER, TEXT(LINE HOST "@\"A\": c\r\n\r\n")},
    {WIRE_NAME_CHARACTER, TEXT(LINE HOST "A@\xA0: c\r\n\r\n")},
    {WIRE_NO_COLON, TEXT(LINE HOST "abc@\r\n\r\n")},
    {WIRE_NO_COLON, TEXT(CHUNKED "0\r\nabc@\r\n\r\n")},
    {WIRE_NO_HOST, TEXT(LINE "\r@\n")},
    {WIRE_NO_HOST, TEXT("GET / HTTP/1.2\r\nA: Host: b\r\n\r@\n")},
    {WIRE_TWO_HOSTS, TEXT(LINE HOST "A: b\r\nhOST@:localhost\r\n\r\n")},
    {WIRE_TWO_HOSTS, TEXT("GET / HTTP/1.0\r\n" HOST "Host@: a\r\n\r\n")},
    {WIRE_HOST, TEXT(LINE "Host: a@/b\r\n\r\n")},
    {WIRE_HOST, TEXT(LINE "Host: a @b\r\n\r\n")},
    {WIRE_HOST, TEXT(LINE "Host: a, @b\r\n\r\n")},
    {WIRE_HOST, TEXT(LINE "Host: a\t@b\r\n\r\n")},
    {WIRE_HOST, TEXT(LINE "Host: @<b>\r\n\r\n")},
    {WIRE_HOST, TEXT(LINE "Host: m@\xC3\xBCnchen.de\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length:@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: +3@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: -3@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 3 @\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 3\t@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 3 3@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 0x3@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 3.0@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 3e0@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: \xB3@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 9223372036854775808@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 9999999999999999999@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 18446744073709551619@\r\n\r\n")},
    {WIRE_LENGTH, TEXT(LINE HOST "Content-Length: 100000000000000000000000000000003@\r\n\r\n")},
    {WIRE_TWO_LENGTHS, TEXT(LINE HOST "Content-Length: 3\r\nContent-Length@: 4\r\n\r\nabc")},
    {WIRE_TWO_LENGTHS, TEXT(LINE HOST "Content-Length: 3\r\nA: b\r\ncontent-length@: 3\r\n\r\nabc")},
    {WIRE_TWO_LENGTHS, TEXT(LINE HOST "Content-Length: 3, 3@\r\n\r\nabc")},
    {WIRE_TWO_LENGTHS, TEXT(LINE HOST "Content-Length: 3,@\r\n\r\nabc")},
    {WIRE_LENGTH_AND_CODING, TEXT(LINE HOST "Content-Length: 3\r\nTransfer-Encoding@: chunked\r\n\r\n")},
    {WIRE_LENGTH_AND_CODING, TEXT(LINE HOST "Transfer-Encoding: chunked\r\nContent-Length@: 3\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding:@\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: chunked @\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: chunked\t@\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: chunked, chunked@\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: chunked, gzip@\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: chunked;a=b@\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: ,chunked@\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: \"chunked\"@\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: \xA0"
                                 "chunked@\r\n\r\n")},
    {WIRE_CODING, TEXT(LINE HOST "Transfer-Encoding: chunked\xA0@\r\n\r\n")},
    {WIRE_CODING_UNKNOWN, TEXT(LINE HOST "Transfer-Encoding: gzip, chunked@\r\n\r\n")},
    {WIRE_CODING_UNKNOWN, TEXT(LINE HOST "Transfer-Encoding: identity@\r\n\r\n")},
    {WIRE_CODING_UNKNOWN, TEXT(LINE HOST "Transfer-Encoding: xchunked@\r\n\r\n")},
    {WIRE_CODING_UNKNOWN, TEXT(LINE HOST "Transfer-Encoding: chunkedx@\r\n\r\n")},
    {WIRE_CODING_UNKNOWN, TEXT(LINE HOST "Transfer-Encoding: a-coding-of-more-than-twenty, chunked@\r\n\r\n")},
    {WIRE_TWO_CODINGS, TEXT(LINE HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding@: chunked\r\n\r\n")},
    {WIRE_CODING_IN_1_0, TEXT("POST / HTTP/1.0\r\nTransfer-Encoding@: chunked\r\n\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "@\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "@\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "@;a\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "@-1\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "@+1\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "@ 1\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "1@ \r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "1@ ;a\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "0@x1\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "@g\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "1@\xB2\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "800000000000000@0\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "fffffffffffffff@f\r\n")},
    {WIRE_CHUNK_SIZE, TEXT(CHUNKED "0000000000000000@0\r\n")},
    {WIRE_CHUNK_END, TEXT(CHUNKED "3\r\nabc@d\r\n")},
    {WIRE_CHUNK_END, TEXT(CHUNKED "3\r\nabc@\n0\r\n\r\n")},
    {WIRE_CHUNK_END, TEXT(CHUNKED "3\r\nabc\r@0\r\n\r\n")},
    {WIRE_CHUNK_END, TEXT(CHUNKED "3\r\nabc\r@\r\n0\r\n\r\n")},
    {WIRE_TRAILER, TEXT(CHUNKED "0\r\nContent-Length@: 3\r\n\r\n")},
    {WIRE_TRAILER, TEXT(CHUNKED "0\r\nA: b\r\ntransfer-encoding@: chunked\r\n\r\n")},
    {WIRE_TRAILER, TEXT(CHUNKED "0\r\nHost@: a\r\n\r\n")},
    {WIRE_TRAILER, TEXT(CHUNKED "0\r\nauthorization@: a\r\n\r\n")},
    {WIRE_TRAILER, TEXT(CHUNKED "0\r\nUPGRADE@: a\r\n\r\n")},
};

/* `before`, then the text without its mark. Returns the marked byte's index. */
static size_t join_unmarked(struct text before, struct text marked, char *dst, struct text *ret)
{
    const char *mark = memchr(marked.at, '@', marked.len);
    ck_assert_ptr_nonnull(mark);
    ck_assert_uint_lt(before.len + marked.len, TEXT_MAX);
    size_t head = (size_t)(mark - marked.at), tail = marked.len - head - 1;
    memcpy(dst, before.at, before.len);
    memcpy(dst + before.len, marked.at, head);
    memcpy(dst + before.len + head, mark + 1, tail);
    *ret = (struct text){dst, before.len + head + tail};
    return before.len + head;
}

static void assert_bad(struct text before, uint64_t index, enum wire_fault fault, struct text marked)
{
    char joined[TEXT_MAX];
    struct text text;
    size_t at = join_unmarked(before, marked, joined, &text);
    struct verdict verdict = follow_whole(text);
    ck_assert_msg(verdict.wire.fault == fault, "\"%s\" is said, \"%s\" expected: %s",
                  wire_fault_text(verdict.wire.fault), wire_fault_text(fault), marked.at);
    ck_assert_msg(verdict.followed == at, "found at %zu, stands at %zu: %s", verdict.followed, at, marked.at);
    ck_assert_uint_eq(wire_fault_index(&verdict.wire), index);
    ck_assert_uint_eq(verdict.wire.heads_begun, index + 1);
}

START_TEST(wire_finds_each_fault_where_it_stands)
{
    bool found[WIRE_TRAILER + 1] = {[WIRE_CHUNK_EXTENSION] = true}; /* has a test of its own */
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_bad(T(""), 0, bad[i].fault, bad[i].text);
        assert_bad(T("\r\n" GOOD "\r\n"), 1, bad[i].fault, bad[i].text);
        assert_bad(T(CHUNKED "1\r\na\r\n0\r\nA: b\r\n\r\n" GOOD), 2, bad[i].fault, bad[i].text);
        found[bad[i].fault] = true;
    }
    for (int fault = WIRE_NO_FAULT + 1; fault <= WIRE_TRAILER; fault++)
        ck_assert_msg(found[fault], "nothing shows: %s", wire_fault_text(fault));
}
END_TEST

START_TEST(wire_follows_nothing_behind_a_fault)
{
    struct wire wire = {0};
    ck_assert_uint_eq(wire_feed(&wire, GOOD LINE HOST HOST, strlen(GOOD LINE HOST HOST)),
                      strlen(GOOD LINE HOST) + 4);
    struct wire before = wire;
    ck_assert_uint_eq(wire_feed(&wire, ": a\r\n\r\n" GOOD, strlen(": a\r\n\r\n" GOOD)), 0);
    ck_assert_mem_eq(&wire, &before, sizeof wire);
    ck_assert_int_eq(wire.fault, WIRE_TWO_HOSTS);
    ck_assert_uint_eq(wire_fault_index(&wire), 1);
}
END_TEST

START_TEST(wire_takes_an_extension_of_256_bytes_and_no_longer_one)
{
    char text[TEXT_MAX];
    for (size_t len = 255; len <= 257; len++) {
        int head = sprintf(text, "%s1;", CHUNKED);
        memset(text + head, 'e', len);
        size_t all = (size_t)head + len + (size_t)sprintf(text + head + len, "\r\na\r\n0\r\n\r\n");
        struct verdict whole = follow_whole((struct text){text, all}),
                       bytes = follow((struct text){text, all}, 1, 1);
        ck_assert_int_eq(whole.wire.fault, len > 256 ? WIRE_CHUNK_EXTENSION : WIRE_NO_FAULT);
        ck_assert_uint_eq(whole.followed, len > 256 ? (size_t)head + 256 : all);
        assert_same(&whole, &bytes, (struct text){text, all});
    }
}
END_TEST

START_TEST(wire_has_a_code_a_text_and_a_mend_for_each_fault)
{
    ck_assert_uint_eq(wire_fault_code(WIRE_NO_FAULT), 0);
    ck_assert_str_eq(wire_fault_text(WIRE_NO_FAULT), "");
    for (int fault = WIRE_NO_FAULT + 1; fault <= WIRE_TRAILER; fault++) {
        unsigned code = wire_fault_code(fault);
        ck_assert(code == 400 || code == 501 || code == 505);
        ck_assert_uint_gt(strlen(wire_fault_text(fault)), 10);
        ck_assert_uint_gt(strlen(wire_fault_hint(fault)), 10);
    }
    ck_assert_uint_eq(wire_fault_code(WIRE_CODING_UNKNOWN), 501);
    ck_assert_uint_eq(wire_fault_code(WIRE_VERSION), 505);
}
END_TEST

/* ---- every byte in every place ---- */

/* Puts each byte where the mark is. Expects no fault, at that byte, for those in `allowed` and, with `beyond`, those that are
 * beyond ASCII. */
static void assert_allows(struct text marked, const char *allowed, bool beyond)
{
    char joined[TEXT_MAX];
    struct text text;
    size_t at = join_unmarked(T(""), marked, joined + 1, &text);
    memmove(joined, joined + 1, at); /* leaves room for one byte */
    for (int byte = 0; byte < 256; byte++) {
        joined[at] = (char)byte;
        struct verdict verdict = follow_whole((struct text){joined, text.len + 1});
        bool right = byte < 0x80 ? byte && strchr(allowed, byte) : beyond;
        bool found = verdict.wire.fault && verdict.followed <= at;
        ck_assert_msg(found != right, "byte 0x%02x is %s: %s", byte, found ? "refused" : "taken", marked.at);
    }
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

START_TEST(wire_knows_for_each_byte_where_it_may_stand)
{
    static const char token[] = LETTERS "!#$%&'*+-.^_`|~";
    static const char visible[] = LETTERS "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    static const char text[] = LETTERS "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \t\r";
    static const char host[] = LETTERS "!$%&'()*+,-.:;=[]_~ \t\r";
    char name[128], method[128], target[128];
    snprintf(name, sizeof name, "%s:", token);
    snprintf(method, sizeof method, "%s ", token);
    snprintf(target, sizeof target, "%s ", visible);
    assert_allows(T("GE@T / HTTP/1.1\r\n"), method, false);
    assert_allows(T("GET /@ HTTP/1.1\r\n"), target, true);
    assert_allows(T("GET /twelve-bytes@-and-more HTTP/1.1\r\n"), target, true);
    assert_allows(T(LINE "A@B: c\r\n"), name, false);
    assert_allows(T(LINE "A:@b\r\n"), text, true);
    assert_allows(T(LINE "A: bcdefghijk@lmnopqrst\r\n"), text, true);
    assert_allows(T(LINE "Host: a@\r\n"), host, false);
    assert_allows(T(CHUNKED "1@\r\n"), "0123456789abcdefABCDEF;\r", false);
    assert_allows(T(CHUNKED "1;a@\r\n"), text, true);
}
END_TEST

START_TEST(wire_finds_a_control_character_at_each_place_of_a_word)
{
    static const char controls[] = {0, 1, '\n', 0x1F, 0x7F};
    char text[TEXT_MAX];
    for (size_t len = 0; len < 40; len++) {
        for (size_t i = 0; i < sizeof controls; i++) {
            int head = sprintf(text, "%sA: ", LINE);
            memset(text + head, i % 2 ? '\xFF' : '!', 48);
            text[(size_t)head + len] = controls[i];
            struct verdict verdict = follow_whole((struct text){text, (size_t)head + 48});
            ck_assert_int_eq(verdict.wire.fault, controls[i] == '\n' ? WIRE_BARE_LF : WIRE_CONTROL);
            ck_assert_uint_eq(verdict.followed, (size_t)head + len);
        }
    }
}
END_TEST

/* ---- however the bytes come ---- */

static void assert_same_however_it_is_cut(struct text text)
{
    struct verdict whole = follow_whole(text), bytes = follow(text, 1, 1);
    assert_same(&whole, &bytes, text);
    assert_agrees(&whole, text);
    for (size_t first = 0; first <= text.len; first++) {
        struct verdict halves = follow(text, first, text.len);
        assert_same(&whole, &halves, text);
    }
}

START_TEST(wire_says_the_same_however_the_bytes_are_cut)
{
    char joined[TEXT_MAX];
    struct text text;
    for (size_t i = 0; i < COUNT(wire_good); i++)
        assert_same_however_it_is_cut(wire_good[i]);
    for (size_t i = 0; i < COUNT(bad); i++) {
        join_unmarked(T(""), bad[i].text, joined, &text);
        assert_same_however_it_is_cut(text);
        join_unmarked(T(GOOD), bad[i].text, joined, &text);
        assert_same_however_it_is_cut(text);
    }
}
END_TEST

START_TEST(wire_says_the_right_thing_of_each_begin_of_a_text)
{
    char joined[TEXT_MAX];
    struct text text;
    for (size_t i = 0; i < COUNT(wire_good) + COUNT(bad); i++) {
        if (i < COUNT(wire_good))
            text = wire_good[i];
        else
            join_unmarked(T(""), bad[i - COUNT(wire_good)].text, joined, &text);
        for (size_t len = 0; len <= text.len; len++) {
            struct verdict verdict = follow_whole((struct text){text.at, len});
            assert_agrees(&verdict, (struct text){text.at, len});
        }
    }
}
END_TEST

/* ---- mutations ---- */

START_TEST(wire_agrees_with_a_slow_reader_on_mutated_requests)
{
    char memory[TEXT_MAX];
    uint64_t state = 1;
    size_t faults[WIRE_TRAILER + 1] = {0};
    for (int run = 0; run < 60000; run++) {
        struct text text = wire_text_mutated(memory, &state);
        struct verdict whole = follow_whole(text);
        struct verdict cut = follow(text, wire_text_pick(&state, text.len + 1), wire_text_pick(&state, 9) + 1);
        assert_agrees(&whole, text);
        assert_same(&whole, &cut, text);
        faults[whole.wire.fault]++;
    }
    for (int fault = WIRE_NO_FAULT; fault <= WIRE_TRAILER; fault++)
        ck_assert_msg(faults[fault] || fault == WIRE_CHUNK_EXTENSION || fault == WIRE_CONNECT,
                      "no mutation showed: %s", wire_fault_text(fault));
}
END_TEST

UNIT_MAIN("server/wire", wire_follows_good_requests_to_their_end,
          wire_counts_a_head_as_begun_by_its_first_byte_and_as_done_by_its_last,
          wire_counts_the_bytes_of_the_head_at_hand, wire_takes_no_byte_of_a_body_for_a_request,
          wire_counts_bodies_of_up_to_63_bits, wire_finds_each_fault_where_it_stands,
          wire_follows_nothing_behind_a_fault, wire_takes_an_extension_of_256_bytes_and_no_longer_one,
          wire_has_a_code_a_text_and_a_mend_for_each_fault, wire_knows_for_each_byte_where_it_may_stand,
          wire_finds_a_control_character_at_each_place_of_a_word, wire_says_the_same_however_the_bytes_are_cut,
          wire_says_the_right_thing_of_each_begin_of_a_text, wire_agrees_with_a_slow_reader_on_mutated_requests)
