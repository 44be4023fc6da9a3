"""One instance of Moorage on one machine: its parts are found or made, its processes started, watched and stopped."""
