#!/usr/bin/env python3
import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
