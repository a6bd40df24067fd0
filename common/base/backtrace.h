/* A last word in the error log when this process dies of a signal of its own making. */
#ifndef RPD_BASE_BACKTRACE_H
#define RPD_BASE_BACKTRACE_H

/* From now on SIGSEGV, SIGBUS, SIGABRT, SIGFPE and SIGILL write one line and a backtrace to
 * log_fd(), then kill the process as they would have. Names the process in the log, as
 * log_process does; goes with fork. In an ASan build only SIGABRT, the rest being ASan's. */
void backtrace_install(const char *process);

#endif
