"""`python -m ssd_keras` is `ssd-keras`."""

import sys

from ssd_keras.cli.parser import main

sys.exit(main())
