"""What every process needs before its first line of business: settings, logs, metrics, health, signals, time."""
