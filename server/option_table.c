#include "server/option_table.h"

#include <ctype.h>
#include <string.h>

#include "server/nearest_name.h"
#include "server/options.h"

#define FIELD(name) offsetof(struct options, name)
#define KIB         ((size_t)1 << 10)
#define MIB         ((size_t)1 << 20)
#define GIB         ((size_t)1 << 30)

enum { ROWS_LIMIT = 1048576, SECONDS_OF_A_DAY = 86400, MILLISECONDS_OF_AN_HOUR = 3600000 };

/* A row: flag, type, field; the value's name, the default, the help; for a number its range; what the default means. */
const struct option_spec option_specs[OPTION_COUNT] = {
    [OPTION_CONFIG] = {"--config", OPTION_TYPE_TEXT, FIELD(config), "FILE", NULL,
                       "JSON with comments whose keys are these options, as in config/mlpd.json", 0, 0, "none",
                       .heading = "The configuration"},
    [OPTION_HOST] = {"--host", OPTION_TYPE_LIST, FIELD(hosts), "LIST", "127.0.0.1",
                     "where to listen: names, IPv4, IPv6 or unix:/path, between commas or by repeating it; 0.0.0.0 "
                     "or :: for all",
                     .heading = "Where it listens"},
    [OPTION_PORT] = {"--port", OPTION_TYPE_COUNT, FIELD(port), "N", "8080",
                     "TCP port; 0 picks a free one and prints it", 0, 65535},
    [OPTION_ADMIN_HOST] = {"--admin-host", OPTION_TYPE_LIST, FIELD(admin_hosts), "LIST", "127.0.0.1",
                           "where the administration listens, if it has its own listener; as --host"},
    [OPTION_ADMIN_PORT] = {"--admin-port", OPTION_TYPE_COUNT, FIELD(admin_port), "off|N", "off",
                           "its TCP port: metrics, health and administration are served there", 0, 65535},

    [OPTION_MODELS] = {"--models", OPTION_TYPE_TEXT, FIELD(models), "DIR", NULL,
                       "folder of <name>/<version>/; all in it are served", 0, 0, "the one that ships",
                       .heading = "The models and what computes"},
    [OPTION_MODEL] = {"--model", OPTION_TYPE_TEXT, FIELD(model), "PATH", NULL,
                      "one model by itself, its file or its version's folder, as mlpd serve PATH", 0, 0, "none"},
    [OPTION_LABELS] = {"--labels", OPTION_TYPE_TEXT, FIELD(labels), "LIST", NULL,
                       "a name for each output, between commas, in place of model.json's", 0, 0, "none"},
    [OPTION_OUTPUT] = {"--output", OPTION_TYPE_TEXT, FIELD(output), "FILE", NULL,
                       "where mlpd golden writes; golden.safetensors in the model's folder if not said", 0, 0,
                       "beside the model"},
    [OPTION_DEFAULT_MODEL] = {"--default-model", OPTION_TYPE_TEXT, FIELD(default_model), "NAME", NULL,
                              "the model of /predict and /model", 0, 0, "the only one"},
    [OPTION_MODEL_VERSIONS] = {"--model-versions", OPTION_TYPE_TEXT, FIELD(model_versions),
                               "latest[:N]|all|specific:N,N", "latest",
                               "the versions of each model that are served, unless its config.json says otherwise"},
    [OPTION_MODELS_POLL_MS] = {"--models-poll-ms", OPTION_TYPE_COUNT, FIELD(models_poll_ms), "N", "1000",
                               "milliseconds between two looks for new models and versions; 0: at SIGHUP alone", 0,
                               MILLISECONDS_OF_AN_HOUR},
    [OPTION_DEVICE] = {"--device", OPTION_TYPE_CHOICE, FIELD(device), "auto|cpu", "auto", "what computes"},
    [OPTION_KERNELS] = {"--kernels", OPTION_TYPE_CHOICE, FIELD(kernels), "auto|generic|avx2|avx512", "auto",
                        "the instructions that the CPU computes with", 0, 0, "the best that it has"},
    [OPTION_IO_THREADS] = {"--io-threads", OPTION_TYPE_COUNT, FIELD(io_threads), "auto|N", "auto",
                           "threads that read and write", 1, 256, "from the processors"},
    [OPTION_WORKERS] = {"--workers", OPTION_TYPE_COUNT, FIELD(workers), "auto|N", "auto", "threads that compute", 1,
                        256, "from the processors"},

    [OPTION_BATCH_MAX] = {"--batch-max", OPTION_TYPE_COUNT, FIELD(batch_max), "ROWS", "256", "largest batch", 1,
                          65536, .heading = "Batches and the queue"},
    [OPTION_BATCH_DELAY_US] = {"--batch-delay-us", OPTION_TYPE_COUNT, FIELD(batch_delay_us), "N", "0",
                               "microseconds that a batch waits to grow; 0: it takes what has queued, and starts",
                               0, 1000000},
    [OPTION_QUEUE_MAX] = {"--queue-max", OPTION_TYPE_COUNT, FIELD(queue_max), "ROWS", "4096",
                          "rows that may wait; beyond it requests get 503", 1, ROWS_LIMIT},
    [OPTION_DEADLINE_MS] = {"--deadline-ms", OPTION_TYPE_COUNT, FIELD(deadline_ms), "N", "5000",
                            "milliseconds from a body's last byte to its answer; beyond it requests get 504", 1,
                            MILLISECONDS_OF_AN_HOUR},

    [OPTION_BODY_MAX] = {"--body-max", OPTION_TYPE_BYTES, FIELD(body_bytes_max), "BYTES", "16MiB",
                         "largest body; plain bytes, or with KiB, MiB, GiB", 1, 4 * GIB,
                         .heading = "Limits of a request"},
    [OPTION_ROWS_MAX] = {"--rows-max", OPTION_TYPE_COUNT, FIELD(rows_max), "auto|ROWS", "auto",
                         "rows in one request", 1, ROWS_LIMIT, "4096, or --queue-max if that is less"},
    [OPTION_PIXELS_MAX] = {"--pixels-max", OPTION_TYPE_COUNT, FIELD(pixels_max), "N", "16777216",
                           "largest picture, width x height", 1, 256 * MIB},
    [OPTION_MEMORY_MAX] = {"--memory-max", OPTION_TYPE_BYTES, FIELD(memory_bytes_max), "auto|off|BYTES", "auto",
                           "bytes of all requests together; beyond it they get 503", MIB, 16384 * GIB,
                           "half of the cgroup's limit, else off"},

    [OPTION_CONNECTIONS_MAX] = {"--connections-max", OPTION_TYPE_COUNT, FIELD(connections_max), "N", "10000",
                                "open connections", 1, 1000000, .heading = "Connections and their end"},
    [OPTION_CONNECTIONS_PER_IP] = {"--connections-per-ip", OPTION_TYPE_COUNT, FIELD(connections_per_ip), "off|N",
                                   "off", "open connections from one address", 1, 1000000},
    [OPTION_READ_TIMEOUT_S] = {"--read-timeout-s", OPTION_TYPE_COUNT, FIELD(read_timeout_s), "N", "10",
                               "seconds from a request's first byte to its last", 1, SECONDS_OF_A_DAY},
    [OPTION_IDLE_TIMEOUT_S] = {"--idle-timeout-s", OPTION_TYPE_COUNT, FIELD(idle_timeout_s), "N", "60",
                               "seconds that a connection may be open without a request", 1, SECONDS_OF_A_DAY},
    [OPTION_DRAIN_DELAY_MS] =
        {"--drain-delay-ms", OPTION_TYPE_COUNT, FIELD(drain_delay_ms), "N", "0",
         "milliseconds after SIGTERM in which new requests are still taken, while readiness says no", 0,
         MILLISECONDS_OF_AN_HOUR},
    [OPTION_DRAIN_TIMEOUT_S] = {"--drain-timeout-s", OPTION_TYPE_COUNT, FIELD(drain_timeout_s), "N", "30",
                                "seconds after SIGTERM at which requests that have not ended are dropped", 0,
                                SECONDS_OF_A_DAY},

    [OPTION_LOG_LEVEL] = {"--log-level", OPTION_TYPE_CHOICE, FIELD(log_level), "error|warning|info|debug", "info",
                          "the least grave that is logged", .heading = "Logs"},
    [OPTION_LOG_FORMAT] = {"--log-format", OPTION_TYPE_CHOICE, FIELD(log_format), "text|json", "text",
                           "what a line of the logs is"},
    [OPTION_LOG_FILE] = {"--log-file", OPTION_TYPE_TEXT, FIELD(log_file), "stderr|FILE", "stderr",
                         "where the log goes; SIGHUP opens the file anew"},
    [OPTION_ACCESS_LOG] = {"--access-log", OPTION_TYPE_TEXT, FIELD(access_log), "off|stderr|FILE", "off",
                           "where a line for each request goes"},
    [OPTION_ACCESS_LOG_SAMPLE] = {"--access-log-sample", OPTION_TYPE_COUNT, FIELD(access_log_sample), "N", "1",
                                  "one request in so many is logged; 1: every one", 1, 1000000},
};

/* ---- names ---- */

enum { FLAG_PREFIX_LEN = 2, VARIABLE_PREFIX_LEN = sizeof OPTION_VARIABLE_PREFIX - 1 };

/* The name without its dashes, in the form of a key or, if `upper`, of a variable. */
static void write_name(const struct option_spec *spec, bool upper, char *ret)
{
    const char *at = spec->flag + FLAG_PREFIX_LEN;
    for (; *at; at++)
        *ret++ = *at == '-' ? '_' : (char)(upper ? toupper((unsigned char)*at) : *at);
    *ret = '\0';
}

void option_write_variable(const struct option_spec *spec, char ret[OPTION_NAME_MAX])
{
    memcpy(ret, OPTION_VARIABLE_PREFIX, VARIABLE_PREFIX_LEN);
    write_name(spec, true, ret + VARIABLE_PREFIX_LEN);
}

void option_write_key(const struct option_spec *spec, char ret[OPTION_NAME_MAX])
{
    write_name(spec, false, ret);
}

static bool is_name(const char *name, const char *text, size_t len)
{
    return strlen(name) == len && memcmp(name, text, len) == 0;
}

const struct option_spec *option_find_flag(const char *text, size_t len)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (is_name(option_specs[i].flag, text, len))
            return &option_specs[i];
    return NULL;
}

static const struct option_spec *find_written(void write(const struct option_spec *, char *), const char *text,
                                              size_t len)
{
    char name[OPTION_NAME_MAX];
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        write(&option_specs[i], name);
        if (is_name(name, text, len))
            return &option_specs[i];
    }
    return NULL;
}

const struct option_spec *option_find_variable(const char *text, size_t len)
{
    return find_written(option_write_variable, text, len);
}

const struct option_spec *option_find_key(const char *text, size_t len)
{
    const struct option_spec *spec = find_written(option_write_key, text, len);
    return spec == &option_specs[OPTION_CONFIG] ? NULL : spec;
}

const struct option_spec *option_nearest(const char *text, size_t len)
{
    char name[NEAREST_NAME_BYTES_MAX];
    size_t skip = len > VARIABLE_PREFIX_LEN && strncmp(text, OPTION_VARIABLE_PREFIX, VARIABLE_PREFIX_LEN) == 0
                      ? VARIABLE_PREFIX_LEN
                      : strspn(text, "-");
    if (len < skip || len - skip > sizeof name)
        return NULL;
    for (size_t i = 0; i < len - skip; i++)
        name[i] = text[skip + i] == '_' ? '-' : (char)tolower((unsigned char)text[skip + i]);
    struct nearest_name nearest = nearest_name_begin(name, len - skip);
    for (size_t i = 0; i < OPTION_COUNT; i++)
        nearest_name_offer(&nearest, option_specs[i].flag + FLAG_PREFIX_LEN);
    return nearest.name ? option_find_flag(nearest.name - FLAG_PREFIX_LEN, strlen(nearest.name) + FLAG_PREFIX_LEN)
                        : NULL;
}

/* ---- words ---- */

bool option_has_word(const struct option_spec *spec, const char *text)
{
    size_t len = strlen(text);
    for (const char *at = spec->value_name; *at;) {
        size_t word_len = strcspn(at, "|");
        bool is_word = at[word_len] || spec->type == OPTION_TYPE_CHOICE;
        if (is_word && len == word_len && memcmp(at, text, len) == 0)
            return true;
        at += word_len + (at[word_len] == '|');
    }
    return false;
}
