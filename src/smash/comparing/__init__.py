"""The comparison of the winner with other candidates and with plain networks."""
