"""Whether this worker process was told to stop: runs that would never end look here."""

import threading

stopping = threading.Event()
