"""What every HTTP part of Kemudi stands on."""
