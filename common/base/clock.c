/* Clocks and the three ways a time is written. Owns nothing; called by loops (the clocks) and by
 * whoever keeps a second's text. Never calls strftime: dates are a dozen divisions. */
#include "common/base/clock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400

static const char month_name[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
static const char day_name[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };

struct moment {
    unsigned year, month, day, weekday, hour, minute, second, ms;
    int offset_s; /* east of Greenwich */
};

static uint64_t now_us(clockid_t id)
{
    struct timespec ts;

    (void)clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}

static bool is_leap(unsigned year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days since 1970 to a date in the Gregorian calendar. Years are counted in whole cycles of 400,
 * 100, 4 and 1 from 1601, the first of a cycle, where the last year of a cycle is the leap one. */
static void set_date(struct moment *m, unsigned days)
{
    static const unsigned days_before[13] = { 0,   31,  59,  90,  120, 151, 181,
                                              212, 243, 273, 304, 334, 365 };
    unsigned d = days + 134774; /* since 1601-01-01 */
    unsigned c400 = d / 146097, c100, c4, c1, month = 0, leap;

    m->weekday = (days + 4) % 7; /* 1970 began on a Thursday */
    d %= 146097;
    c100 = d / 36524 < 3 ? d / 36524 : 3;
    d -= c100 * 36524;
    c4 = d / 1461;
    d %= 1461;
    c1 = d / 365 < 3 ? d / 365 : 3;
    d -= c1 * 365;
    m->year = 1601 + c400 * 400 + c100 * 100 + c4 * 4 + c1;
    leap = is_leap(m->year);
    while (d >= days_before[month + 1] + (month >= 1 ? leap : 0))
        month++;
    m->month = month;
    m->day = d - days_before[month] - (month >= 2 ? leap : 0) + 1;
}

static struct moment moment_utc(uint64_t wall_us)
{
    uint64_t s = wall_us / 1000000;
    unsigned of_day = (unsigned)(s % DAY_S);
    struct moment m = {
        .hour = of_day / 3600,
        .minute = of_day / 60 % 60,
        .second = of_day % 60,
        .ms = (unsigned)(wall_us / 1000 % 1000),
    };

    set_date(&m, (unsigned)(s / DAY_S));
    return m;
}

static struct moment moment_local(uint64_t wall_us)
{
    time_t s = (time_t)(wall_us / 1000000);
    struct tm tm;

    if (!localtime_r(&s, &tm))
        return moment_utc(wall_us);
    return (struct moment){
        .year = (unsigned)tm.tm_year + 1900,
        .month = (unsigned)tm.tm_mon,
        .day = (unsigned)tm.tm_mday,
        .hour = (unsigned)tm.tm_hour,
        .minute = (unsigned)tm.tm_min,
        .second = (unsigned)tm.tm_sec,
        .ms = (unsigned)(wall_us / 1000 % 1000),
        .offset_s = (int)tm.tm_gmtoff,
    };
}

/* Each put_ writes at `at` and returns where it ended. */
static char *put_number(char *at, unsigned value, int digits, char after)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        at[i] = (char)('0' + value % 10);
    at[digits] = after;
    return at + digits + (after != '\0');
}

static char *put_text(char *at, const char *text, size_t n)
{
    memcpy(at, text, n);
    return at + n;
}

static char *put_time(char *at, const struct moment *m, char after)
{
    at = put_number(at, m->hour, 2, ':');
    at = put_number(at, m->minute, 2, ':');
    return put_number(at, m->second, 2, after);
}

/* `2026-11-23T19:20:21.123` */
static char *put_iso(char *at, const struct moment *m)
{
    at = put_number(at, m->year, 4, '-');
    at = put_number(at, m->month + 1, 2, '-');
    at = put_number(at, m->day, 2, 'T');
    at = put_time(at, m, '.');
    return put_number(at, m->ms, 3, '\0');
}

/* `+01:00`, or `+0100` without a colon. */
static char *put_offset(char *at, int offset_s, char colon)
{
    unsigned minutes = (unsigned)(offset_s < 0 ? -offset_s : offset_s) / 60;

    *at++ = offset_s < 0 ? '-' : '+';
    at = put_number(at, minutes / 60, 2, colon);
    return put_number(at, minutes % 60, 2, '\0');
}

size_t clock_http_date(char buf[CLOCK_TEXT_MAX], uint64_t wall_us)
{
    struct moment m = moment_utc(wall_us);
    char *at = put_text(buf, day_name[m.weekday], 3);

    at = put_text(at, ", ", 2);
    at = put_number(at, m.day, 2, ' ');
    at = put_text(at, month_name[m.month], 3);
    *at++ = ' ';
    at = put_number(at, m.year, 4, ' ');
    at = put_time(at, &m, ' ');
    at = put_text(at, "GMT", 3);
    *at = '\0';
    return (size_t)(at - buf);
}

size_t clock_iso8601(char buf[CLOCK_TEXT_MAX], uint64_t wall_us)
{
    struct moment m = moment_local(wall_us);
    char *at = put_offset(put_iso(buf, &m), m.offset_s, ':');

    return (size_t)(at - buf);
}

size_t clock_iso8601_utc(char buf[CLOCK_TEXT_MAX], uint64_t wall_us)
{
    struct moment m = moment_utc(wall_us);
    char *at = put_iso(buf, &m);

    *at++ = 'Z';
    *at = '\0';
    return (size_t)(at - buf);
}

size_t clock_local(char buf[CLOCK_TEXT_MAX], uint64_t wall_us)
{
    struct moment m = moment_local(wall_us);
    char *at = put_number(buf, m.day, 2, '/');

    at = put_text(at, month_name[m.month], 3);
    *at++ = '/';
    at = put_number(at, m.year, 4, ':');
    at = put_time(at, &m, ' ');
    at = put_offset(at, m.offset_s, '\0');
    return (size_t)(at - buf);
}
