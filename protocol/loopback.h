/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* TCP within one host. Both ends leave out there what is for networks. */

#include <stdbool.h>
#include <sys/socket.h>

/* For TCP_CONGESTION. Nothing is lost on the loopback, so nothing has to be found out about it; but BBR, which many systems have
 * as their default, paces what is sent by a timer of high resolution for some segments each, which takes half of the time of
 * large messages (bench/NOTES.md). Each kernel has Reno and allows it to everybody. It counts only from the first: a connection
 * that has begun to pace goes on with that. */
#define LOOPBACK_CONGESTION "reno"

/* 127.0.0.0/8, ::1, and the former within IPv6 */
bool loopback_is(const struct sockaddr *address);
