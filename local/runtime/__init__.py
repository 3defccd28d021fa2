"""AWS Lambda on the laptop: functions in processes of their own."""
