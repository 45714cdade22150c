"""What is true of Azure ML whoever asks: its errors, states, sizes, quota, pages and runs. Knows neither Prefect nor the stages."""
