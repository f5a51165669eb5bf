"""`python -m serving.gateway`."""

import sys

from serving.gateway.main import main

sys.exit(main())
