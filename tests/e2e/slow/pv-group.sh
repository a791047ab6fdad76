#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The spinlocks of a guest switched 10,000 times under load: ../pv-group.sh, for as long as that takes.
PV_SWITCHES=10000 PV_LIMIT=3500 exec bash "$(dirname "$0")/../pv-group.sh"
