/* Locks in repositories, as this controller takes them. */
#ifndef RECONCILER_STORE_LOCK_H
#define RECONCILER_STORE_LOCK_H

#include "reconciler/store/open.h"
#include "store/lock.h"

/* Our identity, and what the API server knows of the pods behind other locks of this cluster; the
 * text lies in the arena. Whoever takes a lock with them removes first what dead controllers of
 * this cluster left, an earlier process of this pod among them, but for locks of lines that are
 * still awaited (store/lock.h). */
struct lock_options store_lock_options(struct context *cx, struct arena *a);

/* Takes a lock. BUSY names who holds one that ours may not stand beside; REFUSED:
 * nothing may be written there. */
int store_lock(struct context *cx, struct arena *a, struct opened *o, bool exclusive,
               struct lock **ret_lock, struct err *err) must_check;

/* Refreshes the lock if it is time, with the store's credentials of now. */
int store_keep_lock(struct context *cx, struct opened *o, struct lock *lock, struct err *err)
    must_check;

#endif
