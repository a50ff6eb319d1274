/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The ids of the journal messages, one for each LogMessage. systemd/directserver.catalog explains each of them. An id is never
 * changed and never used for anything else: people's scripts filter on it.
 *
 * id                    priority  fields                                       written when
 * STARTED               info                                                   the service listens and has told systemd
 * STOPPING              info                                                   it was told to stop; clients are told
 * CLIENT_KICKED         notice    CLIENT_NAME CLIENT_ID CLIENT_ADDRESS REASON  an administrator ended a client
 * CLIENT_LOST           info      CLIENT_NAME CLIENT_ID REASON                 it died, was reset or timed out (rate-limited)
 * PROTOCOL_ERROR        warning   CLIENT_NAME CLIENT_ID CLIENT_ADDRESS REASON  a peer broke the protocol (rate-limited)
 * REFUSED               notice    CLIENT_ADDRESS REASON                        a HELLO was refused (rate-limited)
 * DESCRIPTORS_USED_UP   error     ERRNO                                        accepting pauses
 * CONFIG_INVALID        error                                                  a file is wrong: at start or on reload
 * RELOADED              info                                                   the configuration was read again
 * BUS_LOST              warning   ERRNO                                        there is no bus, or no longer
 */

#define LOG_MESSAGE_ID_STARTED "05b5688574a84a29b50a6c4b4f867bc5"
#define LOG_MESSAGE_ID_STOPPING "235cc14b2cf84361a7e0b2613ef1d0c2"
#define LOG_MESSAGE_ID_CLIENT_KICKED "98472ea7d9d24296a160a864fcebf165"
#define LOG_MESSAGE_ID_CLIENT_LOST "54e8f21edb684dd0993669d3b16167c0"
#define LOG_MESSAGE_ID_PROTOCOL_ERROR "f988556adb16467aa88bd0aa3bdc1d35"
#define LOG_MESSAGE_ID_REFUSED "627cc17bc6924539b9da9e31f2b56cd5"
#define LOG_MESSAGE_ID_DESCRIPTORS_USED_UP "f0e0b9d0100e468fa833cb8a97ebc4f6"
#define LOG_MESSAGE_ID_CONFIG_INVALID "b7f16bd9ccf344a3ac4a7056db63c73a"
#define LOG_MESSAGE_ID_RELOADED "def2fcbed6f44135bbcfb666c33f49f0"
#define LOG_MESSAGE_ID_BUS_LOST "054cd695963d480bade496d33ad2fd29"
