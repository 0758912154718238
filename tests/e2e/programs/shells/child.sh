#!/bin/sh
echo "child: $# $*"
if [ "$1" = with ]; then read -r line && echo "child read: $line"; fi
