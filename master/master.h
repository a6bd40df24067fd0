/* The master's root: all that it has. One struct, passed to every function of master/. */
#ifndef RPD_MASTER_MASTER_H
#define RPD_MASTER_MASTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "common/core/stats.h"
#include "master/apply.h"
#include "master/canary.h"
#include "master/canary_program.h"
#include "master/config.h"
#include "master/control.h"
#include "master/daemon.h"
#include "master/events.h"
#include "master/helper.h"
#include "master/install.h"
#include "master/keys.h"
#include "master/listen.h"
#include "master/logs.h"
#include "master/origin.h"
#include "master/pidfile.h"
#include "master/reader.h"
#include "master/reload.h"
#include "master/retiree.h"
#include "master/rotation.h"
#include "master/slots.h"
#include "master/stop.h"
#include "master/takeover.h"
#include "master/upgrade.h"
#include "master/worker.h"

enum master_phase {
    MASTER_STARTING, /* until every worker is ready */
    MASTER_SERVING,
    MASTER_RETIRING, /* finish and stop */
    MASTER_STOPPING, /* stop now */
};

struct master {
    struct events events;
    struct event signals;
    enum master_phase phase;
    int exit_status;
    pid_t pid;

    /* What does not change for the process's life. */
    char *program;          /* its path, by which an upgrade finds its successor */
    char *file;             /* of the configuration, as named */
    bool is_background;
    bool is_after_crash;    /* the master before this one was killed */
    char *run_dir;
    struct kept kept;
    char *user, *group;     /* that workers become; NULL: they stay what the master is */
    char *keys_user;        /* the same for `rpd: keys` */

    struct daemon daemon;
    struct deadline start_deadline;
    struct pidfile pidfile;
    struct segment *segment;
    struct stats_rpd_shared *stats; /* in the segment */
    struct limits *limits;          /* what keys of limits have had */
    struct generation generation;   /* in force */
    struct names names;             /* the latest answer of each */
    uint64_t names_refused_us;      /* when the log was told that one could not be taken */
    struct logs logs;
    uint64_t logs_number;           /* counts reopenings */
    struct listen_table listen;
    unsigned nworkers;              /* that should run: indices below */
    struct worker workers[STATS_WORKERS_MAX];
    struct keys_process keys;
    struct helper_process helper;
    struct canary_programs canary_programs;
    struct reader reader;
    struct reload reload;
    struct apply apply;
    struct origin origin;           /* of the generation */
    struct control control;
    struct stop stop;
    struct slots slots;             /* of the segment */
    struct rotation rotation;
    struct retirees retirees;
    struct upgrade upgrade;
    struct takeover takeover;
};

#endif
