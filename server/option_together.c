/* Combinations of values, each right by itself, that make no sense together. They are judged by what they are, not by
 * where they came from, so that writing a default down changes nothing; and no option that was left alone is refused
 * because of one that was given, where it can follow. */
#include <string.h>

#include "engine/version_policy.h"
#include "server/option_parts.h"

enum { DESCRIPTION_MAX = 168 }; /* two of them and some words fit into an error */

/* "--rows-max 5000 (from MLPD_ROWS_MAX)". */
static const char *describe(const struct options *options, enum option_id id, char ret[DESCRIPTION_MAX])
{
    const struct option_spec *spec = &option_specs[id];
    const struct option_origin *origin = &options->origins[id];
    char value[OPTION_VALUE_MAX], name[OPTION_NAME_MAX], from[DESCRIPTION_MAX] = "";
    option_write_value(options, spec, value);
    option_write_variable(spec, name);
    const char *slash = options->config ? strrchr(options->config, '/') : NULL;
    switch (origin->source) {
    case SOURCE_FLAG: break;
    case SOURCE_ENVIRONMENT: snprintf(from, sizeof from, " (from %s)", name); break;
    case SOURCE_FILE:
        snprintf(from, sizeof from, " (from %.64s line %zu)", slash ? slash + 1 : options->config, origin->line);
        break;
    case SOURCE_DEFAULT: strcpy(from, " (the default)"); break;
    }
    snprintf(ret, DESCRIPTION_MAX, "%s %.40s%s", spec->flag, value, from);
    return ret;
}

/* Refuses two values: "A is more than B: WHY; HINT". */
static void refuse_pair(const struct options *options, enum option_id a, const char *relation, enum option_id b,
                        const char *why, const char *hint, struct option_faults *faults)
{
    char first[DESCRIPTION_MAX], second[DESCRIPTION_MAX];
    struct error err;
    error_set(&err, STATUS_INVALID, "%s %s %s: %s", describe(options, a, first), relation,
              describe(options, b, second), why);
    error_hint(&err, "%s", hint);
    option_fault_add(faults, err.status, &err);
}

/* ---- addresses ---- */

static bool is_unix(const char *address)
{
    return strncmp(address, "unix:", 5) == 0;
}

static bool is_every_address(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

/* Whether some address of TCP is in both lists. */
static bool share_tcp(const struct option_list *a, const struct option_list *b)
{
    for (size_t i = 0; i < a->count; i++)
        for (size_t j = 0; j < b->count; j++)
            if (!is_unix(a->texts[i]) && !is_unix(b->texts[j]) &&
                (strcmp(a->texts[i], b->texts[j]) == 0 || is_every_address(a->texts[i]) ||
                 is_every_address(b->texts[j])))
                return true;
    return false;
}

static bool share_path(const struct option_list *a, const struct option_list *b)
{
    for (size_t i = 0; i < a->count; i++)
        for (size_t j = 0; j < b->count; j++)
            if (is_unix(a->texts[i]) && strcmp(a->texts[i], b->texts[j]) == 0)
                return true;
    return false;
}

static bool is_default_list(const struct option_list *list, enum option_id id)
{
    return list->count == 1 && strcmp(list->texts[0], option_specs[id].default_text) == 0;
}

static void check_addresses(const struct options *options, struct option_faults *faults)
{
    const struct option_list *hosts = &options->hosts, *admin_hosts = &options->admin_hosts;
    if (share_path(hosts, admin_hosts))
        refuse_pair(options, OPTION_ADMIN_HOST, "shares a path with", OPTION_HOST,
                    "two listeners cannot have one socket", "give the administration another path", faults);
    if (!options->admin && !is_default_list(admin_hosts, OPTION_ADMIN_HOST))
        refuse_pair(options, OPTION_ADMIN_HOST, "goes with", OPTION_ADMIN_PORT, "nothing would listen there",
                    "give --admin-port too, or leave --admin-host out", faults);
    if (options->admin_port != OPTION_OFF && options->admin_port != 0 && options->admin_port == options->port &&
        share_tcp(hosts, admin_hosts))
        refuse_pair(options, OPTION_ADMIN_PORT, "is the same as", OPTION_PORT,
                    "two listeners cannot have one port of an address",
                    "choose another --admin-port, or leave it out for one listener", faults);
}

/* ---- numbers ---- */

static void check_rows(const struct options *options, struct option_faults *faults)
{
    if (options->rows_max > options->queue_max)
        refuse_pair(options, OPTION_ROWS_MAX, "is more than", OPTION_QUEUE_MAX,
                    "such a request could never be taken", "lower --rows-max or raise --queue-max", faults);
    /* Without a delay a queue smaller than a batch does no harm: a batch takes what is there. */
    if (options->batch_delay_us > 0 && options->batch_max > options->queue_max)
        refuse_pair(options, OPTION_BATCH_MAX, "is more than", OPTION_QUEUE_MAX,
                    "with --batch-delay-us every batch would wait in vain for rows that the queue does not hold",
                    "lower --batch-max, raise --queue-max, or leave --batch-delay-us out", faults);
    if (options->batch_delay_us >= options->deadline_ms * 1000)
        refuse_pair(options, OPTION_BATCH_DELAY_US, "is no less than", OPTION_DEADLINE_MS,
                    "requests would expire while their batch waits",
                    "lower --batch-delay-us or raise --deadline-ms", faults);
}

static void check_limits(const struct options *options, struct option_faults *faults)
{
    if (options->memory_bytes_max != OPTION_AUTO && options->body_bytes_max > options->memory_bytes_max)
        refuse_pair(options, OPTION_BODY_MAX, "is more than", OPTION_MEMORY_MAX, "such a body could never be taken",
                    "lower --body-max or raise --memory-max", faults);
    if (options->connections_per_ip != OPTION_OFF && options->connections_per_ip > options->connections_max)
        refuse_pair(options, OPTION_CONNECTIONS_PER_IP, "is more than", OPTION_CONNECTIONS_MAX,
                    "it would limit nothing", "lower --connections-per-ip, or leave it off", faults);
    if (options->drain_delay_ms > options->drain_timeout_s * 1000)
        refuse_pair(options, OPTION_DRAIN_DELAY_MS, "is longer than", OPTION_DRAIN_TIMEOUT_S,
                    "it would end before the delay is over", "lower --drain-delay-ms or raise --drain-timeout-s",
                    faults);
    if (options->access_log_sample > 1 && strcmp(options->access_log, "off") == 0)
        refuse_pair(options, OPTION_ACCESS_LOG_SAMPLE, "goes with", OPTION_ACCESS_LOG,
                    "there is no log to thin out", "give --access-log too, or leave --access-log-sample out",
                    faults);
}

/* ---- the models ---- */

static void check_versions(const struct options *options, struct option_faults *faults)
{
    char place[DESCRIPTION_MAX];
    struct version_policy policy;
    struct error err;
    if (version_policy_parse(options->model_versions, &policy, &err) == STATUS_OK)
        return;
    error_prefix(&err, "%s: ", describe(options, OPTION_MODEL_VERSIONS, place));
    option_fault_add(faults, err.status, &err);
}

static void check_model(const struct options *options, struct option_faults *faults)
{
    if (options->model && options->models)
        refuse_pair(options, OPTION_MODEL, "goes without", OPTION_MODELS, "each says what is to be served",
                    "leave one of them out", faults);
    if (!options->output || options->command == COMMAND_GOLDEN)
        return;
    char first[DESCRIPTION_MAX];
    struct error err;
    error_set(&err, STATUS_INVALID, "%s goes with mlpd golden, which alone writes a file",
              describe(options, OPTION_OUTPUT, first));
    error_hint(&err, "leave --output out");
    option_fault_add(faults, err.status, &err);
}

void option_check_together(const struct options *options, struct option_faults *faults)
{
    check_model(options, faults);
    check_addresses(options, faults);
    check_rows(options, faults);
    check_limits(options, faults);
    check_versions(options, faults);
}
