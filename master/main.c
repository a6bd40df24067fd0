/* rpd's arguments. Owns the root struct. Everything else is start.c's. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/proctitle.h"
#include "common/core/conf.h"
#include "master/master.h"
#include "master/program.h"
#include "master/start.h"

#define DEFAULT_FILE "/etc/rpd/rpd.ini"
#define EXIT_USAGE 2
#define COUNT(a) (sizeof(a) / sizeof *(a))

struct options {
    const char *file;
    bool is_check, is_background;
};

static int usage(FILE *out, int status)
{
    (void)fputs("usage: rpd [-c FILE] [-t] [-d] [-V] [--help-config[=sample|mdoc]]\n"
                "  -c, --config FILE   the configuration (" DEFAULT_FILE ")\n"
                "  -t, --test          check it and exit\n"
                "  -d, --daemon        go to the background once ready\n"
                "  -V, --version       print the version\n"
                "  -h, --help          print this\n"
                "      --help-config   print every setting (=sample: as a file; =mdoc)\n",
                out);
    return status;
}

static int print_settings(const char *format)
{
    static const struct {
        const char *name;
        enum conf_help_format format;
    } formats[] = {
        { "text", CONF_HELP_TEXT },
        { "sample", CONF_HELP_SAMPLE },
        { "mdoc", CONF_HELP_MDOC },
    };
    struct strbuf out;

    for (size_t i = 0; i < COUNT(formats); i++)
        if (strcmp(format ? format : "text", formats[i].name) == 0) {
            strbuf_init(&out);
            conf_help(formats[i].format, &out);
            (void)fwrite(out.s, 1, out.n, stdout);
            strbuf_fini(&out);
            return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        }
    return usage(stderr, EXIT_USAGE);
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
    enum { HELP_CONFIG = 256 };
    static const struct option longs[] = {
        { "config", required_argument, NULL, 'c' },
        { "test", no_argument, NULL, 't' },
        { "daemon", no_argument, NULL, 'd' },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { "help-config", optional_argument, NULL, HELP_CONFIG },
        { NULL, 0, NULL, 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "c:tdVh", longs, NULL)) != -1)
        switch (c) {
        case 'c':
            o->file = optarg;
            break;
        case 't':
            o->is_check = true;
            break;
        case 'd':
            o->is_background = true;
            break;
        case 'V':
            return puts("rpd " RPD_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        case 'h':
            return usage(stdout, EXIT_SUCCESS);
        case HELP_CONFIG:
            return print_settings(optarg);
        default:
            return usage(stderr, EXIT_USAGE);
        }
    return optind == argc ? -1 : usage(stderr, EXIT_USAGE);
}

/* A descriptor 0, 1 or 2 that was closed would be given to a socket, which then is written to. */
static bool fill_standard_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv)
{
    struct options o = { .file = DEFAULT_FILE };
    struct master *m;
    char *program;
    int status;

    if (!fill_standard_fds())
        return EXIT_FAILURE;
    proctitle_init(argc, argv);
    log_process("master");
    status = parse(argc, argv, &o);
    if (status >= 0)
        return status;
    if (o.is_check)
        return start_check(o.file);
    m = xcalloc(1, sizeof *m);
    program = program_path(argv[0]);
    status = start_run(m, program, o.file, o.is_background);
    free(program);
    free(m);
    return status;
}
