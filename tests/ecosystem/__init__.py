"""The packages people use with Requests, each used as its documentation shows, through GRequests."""
