"""Looking inside one model, as source D does ("A Brain Tumor Magnetic Resonance Imaging (MRI) Classification")."""
