"""What every module stands on: settings, database, errors, time, ids, logs. Knows no feature."""
