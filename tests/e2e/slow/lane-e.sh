#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The long stress test on lane e: this machine's own /dev/kvm.
. "$(dirname "$0")/lane.sh"
lane_stress e 1200
