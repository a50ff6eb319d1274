/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The names of the D-Bus interface, for the service and for those who call it. org.directserver.DirectServer1.xml describes
 * them. */

#define BUS_NAME "org.directserver.DirectServer1"
#define BUS_PATH "/org/directserver/DirectServer1"
#define BUS_CLIENT_ROOT BUS_PATH "/client" /* each client is an object below: its id in decimal */

/* All instances (dbus/instance.h) stand in line for this one as well: dbus-broker has no rules for all names that begin alike,
 * and both buses let a message through to who is in line for the name that a rule has. */
#define BUS_INSTANCES_NAME "org.directserver.DirectServer1Instances"

#define BUS_MANAGER_INTERFACE BUS_NAME ".Manager"
#define BUS_CLIENT_INTERFACE BUS_NAME ".Client"

#define BUS_ERROR_NO_SUCH_CLIENT BUS_NAME ".Error.NoSuchClient"
#define BUS_ERROR_INVALID_REASON BUS_NAME ".Error.InvalidReason"
#define BUS_ERROR_INVALID_CONFIGURATION BUS_NAME ".Error.InvalidConfiguration"

/* Actions of polkit */
#define BUS_ACTION_KICK_CLIENT BUS_NAME ".kick-client"
#define BUS_ACTION_RELOAD BUS_NAME ".reload"
