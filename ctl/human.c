/* Numbers as people read them. Called by what prints tables; pure. */
#include "ctl/human.h"

#include <stdint.h>
#include <stdio.h>

#define SOON_S (14.0 * 86400)

static const char *scaled(char buf[HUMAN_MAX], double n)
{
    static const char unit[] = "kMGTPE";
    size_t i = 0;

    n /= 1000;
    /* 999.95k would print as 1000.0k */
    while (n >= 999.5 && i + 2 < sizeof unit) {
        n /= 1000;
        i++;
    }
    snprintf(buf, HUMAN_MAX, n < 9.95 ? "%.1f%c" : "%.0f%c", n, unit[i]);
    return buf;
}

const char *human_count(char buf[HUMAN_MAX], double n)
{
    if (n >= 999.5)
        return scaled(buf, n);
    snprintf(buf, HUMAN_MAX, "%.0f", n);
    return buf;
}

const char *human_rate(char buf[HUMAN_MAX], double n)
{
    if (n >= 99.5 || n <= 0)
        return human_count(buf, n > 0 ? n : 0);
    snprintf(buf, HUMAN_MAX, n < 0.05 ? "<0.1" : "%.1f", n);
    return buf;
}

const char *human_latency(char buf[HUMAN_MAX], double s)
{
    if (s <= 0)
        snprintf(buf, HUMAN_MAX, "-");
    else if (s < 0.0009995)
        snprintf(buf, HUMAN_MAX, "%.0fus", s * 1e6);
    else if (s < 0.00995)
        snprintf(buf, HUMAN_MAX, "%.1fms", s * 1e3);
    else if (s < 0.9995)
        snprintf(buf, HUMAN_MAX, "%.0fms", s * 1e3);
    else if (s < 119.5)
        snprintf(buf, HUMAN_MAX, s < 9.95 ? "%.1fs" : "%.0fs", s);
    else
        snprintf(buf, HUMAN_MAX, "%.0fm", s / 60);
    return buf;
}

const char *human_left(char buf[HUMAN_MAX], double at, double now)
{
    if (at <= 0)
        snprintf(buf, HUMAN_MAX, "-");
    else if (at <= now)
        snprintf(buf, HUMAN_MAX, "expired");
    else
        return human_span(buf, at - now);
    return buf;
}

bool human_is_soon(double at, double now)
{
    return at > 0 && at - now < SOON_S;
}

const char *human_span(char buf[HUMAN_MAX], double seconds)
{
    uint64_t s = seconds > 0 ? (uint64_t)seconds : 0;
    unsigned long long d = s / 86400, h = s / 3600 % 24, m = s / 60 % 60;

    if (s < 60)
        snprintf(buf, HUMAN_MAX, "%us", (unsigned)s);
    else if (s < 3600)
        snprintf(buf, HUMAN_MAX, "%llum%02us", m, (unsigned)(s % 60));
    else if (s < 86400)
        snprintf(buf, HUMAN_MAX, "%lluh%02llum", h, m);
    else
        snprintf(buf, HUMAN_MAX, "%llud%02lluh", d, h);
    return buf;
}
