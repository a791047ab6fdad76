#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The long stress test on lane v: Bochs's VMX, int3 and all.
. "$(dirname "$0")/lane.sh"
lane_stress v 3500
