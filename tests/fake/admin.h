/* What the administration asks of the faults and the calls. */
#ifndef FAKE_ADMIN_H
#define FAKE_ADMIN_H

#include "fake.h"

int fault_add(const json_t *fault, char **why); /* *why: malloc'd */
void faults_clear(void);
void pause_end(bool discard);
json_t *pause_report(void);
json_t *calls_report(void);

#endif
