"""AWS Lambda on the laptop: functions in their own processes."""
