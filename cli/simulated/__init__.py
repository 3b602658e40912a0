"""The HTTP front of the engine model: what `quorate simulate-backend` serves, in the words of vLLM 0.32."""
