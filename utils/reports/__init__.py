"""What a person or another program reads: logs, metrics, pictures, reports, predictions, exports."""
