/* The input is a variable without its "MLPD_" up to the first NUL, then a config file. Whatever they hold, the options are
 * either in their ranges and make sense together, or every fault has a message and a mend. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_number(const struct options *options, const struct option_spec *spec)
{
    size_t number = *(const size_t *)(const void *)((const char *)options + spec->offset);
    bool is_word = (number == OPTION_AUTO && option_has_word(spec, "auto")) ||
                   (number == OPTION_OFF && option_has_word(spec, "off"));
    assert(is_word || (number >= spec->min && number <= spec->max));
}

static void check_options(const struct options *options)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (option_specs[i].max > 0)
            check_number(options, &option_specs[i]);
    assert(options->rows_max > 0 && options->rows_max <= options->queue_max);
    assert(options->hosts.count > 0 && options->hosts.count <= OPTION_LIST_MAX);
    assert(options->admin_hosts.count > 0 && options->admin_hosts.count <= OPTION_LIST_MAX);
    for (size_t i = 0; i < options->hosts.count; i++)
        assert(options->hosts.texts[i][0]);
    assert((options->ignored_env > 0) == (options->ignored_env_first != NULL));
}

static void print_options(const struct options *options)
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert(out);
    options_print(options, out);
    fclose(out);
    assert(len > 0);
    free(text);
}

static void check_faults(const struct option_faults *faults, enum status status)
{
    assert(faults->count > 0 && faults->list[0].status == status);
    for (size_t i = 0; i < faults->count && i < OPTION_FAULTS_MAX; i++)
        assert(faults->list[i].status != STATUS_OK && faults->list[i].message[0] && faults->list[i].hint[0]);
}

static void read_options(char *flag, char *variable)
{
    char program[] = "mlpd", command[] = "check";
    char *argv[] = {program, command, flag, NULL}, *environment[] = {variable, NULL};
    struct options options;
    struct option_faults faults;
    enum status status = options_parse(3, argv, environment, &options, &faults);
    if (status != STATUS_OK) {
        check_faults(&faults, status);
        return;
    }
    assert(faults.count == 0);
    check_options(&options);
    print_options(&options);
    options_free(&options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
    if (!nul)
        return 0;
    size_t name_len = (size_t)(nul - data), len = size - name_len - 1;
    char flag[64], *variable = malloc(sizeof OPTION_VARIABLE_PREFIX + name_len);
    int fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0 || !variable || write(fd, nul + 1, len) != (ssize_t)len)
        abort();
    snprintf(flag, sizeof flag, "--config=/proc/self/fd/%d", fd);
    memcpy(variable, OPTION_VARIABLE_PREFIX, sizeof OPTION_VARIABLE_PREFIX - 1);
    memcpy(variable + sizeof OPTION_VARIABLE_PREFIX - 1, data, name_len + 1);
    read_options(flag, variable);
    free(variable);
    close(fd);
    return 0;
}
