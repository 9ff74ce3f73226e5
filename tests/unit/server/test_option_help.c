/* --help, README's table, and the effective configuration. */
#include "server/options.h"

#include "tests/unit/server/parsing.h"

static char *written(void write(FILE *out))
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    ck_assert_ptr_nonnull(out);
    write(out);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_int_eq(text[len - 1], '\n');
    return text;
}

static struct options *to_print;

static void print(FILE *out)
{
    options_print(to_print, out);
}

/* Whether the text has this line. */
static bool has_line(const char *text, const char *line)
{
    size_t len = strlen(line);
    for (const char *at = strstr(text, line); at; at = strstr(at + 1, line))
        if ((at == text || at[-1] == '\n') && at[len] == '\n')
            return true;
    return false;
}

START_TEST(options_help_names_every_option_command_and_default)
{
    static const char *const words[] = {"mlpd predict", "mlpd model", "mlpd check",     "--version", "--help",
                                        "8080",         "16MiB",      "MLPD_BATCH_MAX", "batch_max", "Logs:"};
    char *text = written(options_help);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ck_assert_msg(strstr(text, words[i]) != NULL, "%s", words[i]);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char row[128];
        snprintf(row, sizeof row, "\n  %s %s", option_specs[i].flag, option_specs[i].value_name);
        ck_assert_msg(strstr(text, row) != NULL, "%s", row);
    }
    ck_assert_ptr_null(strstr(text, "--markdown"));
    free(text);
}
END_TEST

START_TEST(options_help_fits_into_100_columns)
{
    char *text = written(options_help);
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        size_t len = strcspn(line, "\n");
        ck_assert_msg(len <= 100, "%.*s", (int)len, line);
        ck_assert_msg(len == 0 || line[len - 1] != ' ', "\"%.*s\" ends with a blank", (int)len, line);
    }
    free(text);
}
END_TEST

START_TEST(options_help_puts_help_beside_short_flags_and_below_long_ones)
{
    char *text = written(options_help);
    ck_assert(has_line(text, "  --batch-max ROWS              largest batch (default 256; 1 to 65536)"));
    ck_assert(has_line(text, "  --kernels auto|generic|avx2|avx512"));
    ck_assert(has_line(text,
                       "  --host LIST                   where to listen: names, IPv4, IPv6 or unix:/path, between "
                       "commas or"));
    free(text);
}
END_TEST

START_TEST(options_help_in_markdown_has_a_row_for_each_option)
{
    char *text = written(options_help_markdown);
    size_t rows = 0, headings = 0;
    for (const char *at = text; *at; at += strcspn(at, "\n") + 1)
        rows++;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        headings += option_specs[i].heading != NULL;
    ck_assert_uint_eq(rows, 2 + headings + OPTION_COUNT);
    ck_assert(has_line(text, "| option | default | range | meaning |"));
    ck_assert(has_line(text, "| **Logs** | | | |"));
    ck_assert(has_line(text, "| `--batch-max ROWS` | 256 | 1 to 65536 | largest batch |"));
    ck_assert(has_line(text, "| `--device auto\\|cpu` | auto | | what computes |"));
    ck_assert(has_line(
        text, "| `--models DIR` | the one that ships | | folder of \\<name>/\\<version>/; all in it are served |"));
    free(text);
}
END_TEST

START_TEST(options_print_shows_each_value_and_where_it_came_from)
{
    to_print = parsed(LINE("--host=127.0.0.1", "--host=::1", "--memory-max=off", "--body-max=1025"),
                      LINE("MLPD_QUEUE_MAX=2048"));
    char *text = written(print);
    ck_assert(has_line(text, "batch_max           256                 default"));
    ck_assert(has_line(text, "queue_max           2048                MLPD_QUEUE_MAX"));
    ck_assert(has_line(text, "rows_max            2048                default"));
    ck_assert(has_line(text, "host                127.0.0.1,::1       --host"));
    ck_assert(has_line(text, "memory_max          off                 --memory-max"));
    ck_assert(has_line(text, "body_max            1025                --body-max"));
    ck_assert(has_line(text, "pixels_max          16777216            default"));
    ck_assert(has_line(text, "workers             auto                default"));
    ck_assert(has_line(text, "models              the one that ships  default"));
    free(text);
}
END_TEST

START_TEST(options_print_shows_the_line_of_the_file)
{
    to_print = PARSED("--config", "config/mlpd.json");
    char *text = written(print);
    ck_assert(has_line(text, "config              config/mlpd.json    --config"));
    ck_assert_ptr_nonnull(strstr(text, "\nport                8080                config/mlpd.json:"));
    free(text);
}
END_TEST

START_TEST(options_print_lets_a_long_value_push_its_own_line_alone)
{
    char path[100];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    to_print = PARSED("--models", path);
    char *text = written(print), line[200];
    snprintf(line, sizeof line, "models              %s  --models", path);
    ck_assert(has_line(text, line));
    ck_assert(has_line(text, "port                8080              default"));
    free(text);
}
END_TEST

UNIT_MAIN("server/option_help", options_help_names_every_option_command_and_default,
          options_help_fits_into_100_columns, options_help_puts_help_beside_short_flags_and_below_long_ones,
          options_help_in_markdown_has_a_row_for_each_option, options_print_shows_each_value_and_where_it_came_from,
          options_print_shows_the_line_of_the_file, options_print_lets_a_long_value_push_its_own_line_alone)
