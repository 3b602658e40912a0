"""The same strategies and scheduler under virtual time: kernel, recorded traces, replay."""
