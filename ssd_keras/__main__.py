"""`python -m ssd_keras` is `ssd-keras`."""

import sys

from ssd_keras.cli import main

sys.exit(main())
