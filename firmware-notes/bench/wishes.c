/* Reads the arguments; knows nothing of TLS stacks. */
#include "bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
    "usage: --host H --port P --ca FILE (--line JSON)... | --count N\n"
    "  --name NAME       the name the certificate must carry (default: the host); also sent as SNI\n"
    "  --line JSON       send this line (may be repeated, 64 at most)\n"
    "  --count N         send N readings made here, of --id ID (default 1), with timestamp and seq\n"
    "  --expect TEXT     the reply that means thanked (default: Thank you)\n"
    "  --cert F --key F  client certificate and key (PEM)\n"
    "  --tls10 | --tls11 | --tls12 | --tls13   exactly this version, if the stack has it (default: 1.2 or newer)\n"
    "  --cipher A,B      offer these suites only, by IANA name\n"
    "  --groups A,B      offer these curves only, e.g. secp256r1\n"
    "  --mfl N           ask for records of at most 512, 1024, 2048 or 4096 bytes\n"
    "  --resume          connect twice, the second time with the session of the first; lines are sent both times\n"
    "  --timeout S       seconds for connection and handshake, and again for each reply (default 10)\n";

void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("meter-client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

static int wrong(const char *what, const char *detail)
{
    complain("%s%s%s\n%s", what, detail[0] != '\0' ? ": " : "", detail, USAGE);
    return -1;
}

bool next_name(const char **list, char *name, size_t size, char from, char to)
{
    size_t length = strcspn(*list, ",");
    if (length == 0 || length >= size) {
        return false;
    }
    memcpy(name, *list, length);
    name[length] = '\0';
    for (size_t i = 0; i < length; i++) {
        if (name[i] == from) {
            name[i] = to;
        }
    }
    *list += length + ((*list)[length] == ',');
    return true;
}

static int number(const char *text, unsigned highest, unsigned *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value > highest) {
        return wrong("not a number in range", text);
    }
    *out = (unsigned)value;
    return 0;
}

static bool flag(const char *option, struct wishes *wish)
{
    const struct { const char *option; unsigned version; } versions[] = {
        {"--tls10", 10}, {"--tls11", 11}, {"--tls12", 12}, {"--tls13", 13},
    };
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        if (strcmp(option, versions[i].option) == 0) {
            wish->version = versions[i].version;
            return true;
        }
    }
    if (strcmp(option, "--resume") == 0) {
        wish->resume = true;
        return true;
    }
    return false;
}

static int add_line(struct wishes *wish, const char *line)
{
    if (wish->line_count == MAX_LINES || strlen(line) >= MAX_LINE || strchr(line, '\n') != NULL) {
        return wrong("too many lines, a line that is too long, or one that holds LF", "");
    }
    wish->lines[wish->line_count++] = line;
    return 0;
}

static int option_with_value(const char *option, const char *value, struct wishes *wish)
{
    const struct { const char *option; const char **text; } texts[] = {
        {"--host", &wish->host},     {"--port", &wish->port}, {"--ca", &wish->ca},
        {"--name", &wish->name},     {"--cert", &wish->cert}, {"--key", &wish->key},
        {"--cipher", &wish->cipher}, {"--groups", &wish->groups}, {"--expect", &wish->expect},
    };
    const struct { const char *option; unsigned *number; unsigned highest; } numbers[] = {
        {"--count", &wish->count, 1000000}, {"--id", &wish->id, 4294967295u},
        {"--mfl", &wish->mfl, 4096},        {"--timeout", &wish->timeout_s, 3600},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(option, texts[i].option) == 0) {
            *texts[i].text = value;
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(option, numbers[i].option) == 0) {
            return number(value, numbers[i].highest, numbers[i].number);
        }
    }
    return strcmp(option, "--line") == 0 ? add_line(wish, value) : wrong("unknown option", option);
}

int wishes_read(int argc, char **argv, struct wishes *wish)
{
    *wish = (struct wishes){.id = 1, .timeout_s = 10, .expect = "Thank you"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(USAGE, stderr);
            return -1;
        }
        if (flag(argv[i], wish)) {
            continue;
        }
        if (i + 1 >= argc) {
            return wrong("unknown option, or its value is missing", argv[i]);
        }
        if (option_with_value(argv[i], argv[i + 1], wish) != 0) {
            return -1;
        }
        i++;
    }
    if (wish->host == NULL || wish->port == NULL || wish->ca == NULL) {
        return wrong("--host, --port and --ca are required", "");
    }
    if ((wish->line_count == 0) == (wish->count == 0)) {
        return wrong("either --line or --count", "");
    }
    if ((wish->cert == NULL) != (wish->key == NULL)) {
        return wrong("--cert and --key belong together", "");
    }
    if (wish->name == NULL) {
        wish->name = wish->host;
    }
    return 0;
}
