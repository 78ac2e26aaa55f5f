"""What a configuration may say, and how configurations of DeepReg become ours."""
