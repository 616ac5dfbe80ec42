"""What a new task is to be.

``parameters`` has each parameter with its range, ``task_spec`` what the services take and whether
it can be, ``request_spec`` how a request of the API becomes one.
"""
